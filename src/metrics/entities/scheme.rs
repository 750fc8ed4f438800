//! Tagging schemes: how tags such as `B-PER` and `I-PER` say where an entity begins and ends, and the entities that they
//! tell of.
//!
//! Promise: [`Entity::find`] is seqeval's `get_entities` (its default mode, which agrees with the `conlleval` script of the
//! CoNLL shared tasks), [`Entity::find_strictly`] its `Entities` under `IOB1`, `IOB2` and `IOBES` (mode `strict`), also where
//! tags do not follow the scheme. At a prefix that the scheme lacks seqeval's strict mode fails; here it belongs to no entity.
//!
//! Deliberately absent: IOE1, IOE2 and BILOU. Tags with `U-` and `L-` are no chunk tags here, so they are scored one by one;
//! rewritten as `S-` and `E-` they are BIOES. Absent too are tags whose prefix comes last (`PER-B`).

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tags mark entities. Words outside of any have the tag `O`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `I-` inside of an entity; `B-` only where one begins right after another of the same type.
    Iob1,
    /// `B-` where an entity begins, `I-` where it goes on; also called IOB2.
    Bio,
    /// As BIO, with `E-` on the last word and `S-` on the only one; also called IOBES.
    Bioes,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Scheme::Iob1 => "IOB1",
            Scheme::Bio => "BIO",
            Scheme::Bioes => "BIOES",
        })
    }
}

/// An entity of one text: the words from `start` up to and without `end`, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity<'a> {
    pub start: usize,
    pub end: usize,
    /// Its type, `_` where the tags name none.
    pub kind: &'a str,
}

impl Scheme {
    /// The name in `model.json`.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Iob1 => "iob1",
            Scheme::Bio => "bio",
            Scheme::Bioes => "bioes",
        }
    }

    /// The scheme of that name.
    pub fn of_name(name: &str) -> Option<Scheme> {
        let all = [Scheme::Iob1, Scheme::Bio, Scheme::Bioes];
        all.into_iter().find(|scheme| scheme.name() == name)
    }

    /// The scheme in which the tags of `sequences` are written. None if some tag is no chunk tag, that is neither `O` nor one
    /// of `B`, `I`, `E`, `S`, alone or with a hyphen and a type; none where entities end with `E-` but nothing begins with
    /// `B-` or `S-`, which is IOE; and none if there are no tags.
    ///
    /// Any other `E-` or `S-` makes it BIOES. Else it is that one of BIO and IOB1 in which fewer tags are impossible after
    /// the one before them; so BIO with a few broken tags is BIO. Where as many are, it is BIO, as also where there is
    /// nothing but `O`.
    pub fn recognise<S: AsRef<str>>(
        sequences: impl IntoIterator<Item = impl IntoIterator<Item = S>>,
    ) -> Option<Scheme> {
        let (mut any, mut begins, mut ends) = (false, false, false);
        let (mut not_bio, mut not_iob1) = (0_u64, 0_u64);
        for sequence in sequences {
            let mut before: Option<S> = None;
            for tag in sequence {
                let last = match &before {
                    Some(tag) => Tag::chunk(tag.as_ref())?,
                    None => OUTSIDE,
                };
                let now = Tag::chunk(tag.as_ref())?;
                any = true;
                begins |= matches!(now.prefix, 'B' | 'S');
                ends |= matches!(now.prefix, 'E' | 'S');
                not_bio += u64::from(!Scheme::Bio.joins(last, now));
                not_iob1 += u64::from(!Scheme::Iob1.joins(last, now));
                before = Some(tag);
            }
        }
        match (any, ends) {
            (false, _) => None,
            (true, true) => begins.then_some(Scheme::Bioes),
            (true, false) if not_bio <= not_iob1 => Some(Scheme::Bio),
            (true, false) => Some(Scheme::Iob1),
        }
    }

    /// `O`, and every type of `tags` with each prefix that the scheme has. What is no chunk tag adds nothing.
    pub fn complete<'t>(self, tags: impl IntoIterator<Item = &'t str>) -> BTreeSet<String> {
        let prefixes = match self {
            Scheme::Iob1 | Scheme::Bio => "BI",
            Scheme::Bioes => "BIES",
        };
        let kinds = tags
            .into_iter()
            .filter(|tag| Tag::chunk(tag).is_some())
            .filter_map(|tag| tag.strip_prefix(PREFIXES));
        let chunks = kinds.flat_map(|kind| {
            prefixes
                .chars()
                .map(move |prefix| format!("{prefix}{kind}"))
        });
        chunks.chain(["O".to_owned()]).collect()
    }

    /// Whether `to` may follow `from`; none is the beginning or the end of a text. A tag that the scheme does not have
    /// stands outside of entities.
    pub fn allows(self, from: Option<&str>, to: Option<&str>) -> bool {
        self.joins(self.own(from), self.own(to))
    }

    /// As [`Scheme::allows`], of tags that the scheme has.
    fn joins(self, from: Tag, to: Tag) -> bool {
        match (self, to.prefix) {
            (Scheme::Iob1, 'B') | (Scheme::Bio, 'I') | (Scheme::Bioes, 'I' | 'E') => {
                from.goes_on_to(to)
            }
            (Scheme::Iob1 | Scheme::Bio, _) => true,
            (Scheme::Bioes, _) => !from.is_inside(),
        }
    }

    fn own(self, tag: Option<&str>) -> Tag<'_> {
        match tag.and_then(Tag::chunk) {
            Some(tag) if self == Scheme::Bioes || !matches!(tag.prefix, 'E' | 'S') => tag,
            _ => OUTSIDE,
        }
    }

    fn begins(self, before: Tag, now: Tag) -> bool {
        let same = before.kind == now.kind;
        match self {
            Scheme::Iob1 => match (before.prefix, now.prefix) {
                ('O' | 'B', 'I') => true,
                ('I', 'I') => !same,
                ('I' | 'B', 'B') => same,
                _ => false,
            },
            Scheme::Bio => now.prefix == 'B',
            Scheme::Bioes => matches!(now.prefix, 'B' | 'S'),
        }
    }

    fn continues(self, before: Tag, now: Tag) -> bool {
        let inside = match self {
            Scheme::Iob1 | Scheme::Bio => now.prefix == 'I',
            Scheme::Bioes => matches!(now.prefix, 'I' | 'E'),
        };
        inside && before.goes_on_to(now)
    }

    /// Whether an entity whose last word is `before` is whole, where `now` does not continue it.
    fn closes(self, before: Tag, now: Tag) -> bool {
        match self {
            Scheme::Iob1 => {
                let both_begin = before.prefix == 'B' && now.prefix == 'B';
                !both_begin || before.kind == now.kind
            }
            Scheme::Bio => true,
            Scheme::Bioes => matches!(before.prefix, 'E' | 'S'),
        }
    }
}

impl<'a> Entity<'a> {
    /// The entities that `tags` tell of, whatever the scheme and however broken: an `I-` or `E-` that follows nothing of its
    /// type begins an entity.
    pub fn find(tags: &[&'a str]) -> Vec<Entity<'a>> {
        let mut entities = Vec::new();
        let mut start = 0;
        let mut before = OUTSIDE;
        for (place, now) in tags
            .iter()
            .map(|tag| Tag::of(tag))
            .chain([OUTSIDE])
            .enumerate()
        {
            let other = before.kind != now.kind;
            let ends = match (before.prefix, now.prefix) {
                ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O') => true,
                ('O' | '.', _) => false,
                _ => other,
            };
            let starts = match (before.prefix, now.prefix) {
                (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I') => true,
                (_, 'O' | '.') => false,
                _ => other,
            };
            if ends {
                entities.push(Entity {
                    start,
                    end: place,
                    kind: before.kind,
                });
            }
            if starts {
                start = place;
            }
            before = now;
        }
        entities
    }

    /// The entities that `tags` tell of exactly as `scheme` asks; what is begun, continued or ended otherwise is none.
    pub fn find_strictly(tags: &[&'a str], scheme: Scheme) -> Vec<Entity<'a>> {
        let tags: Vec<Tag> = tags.iter().map(|tag| Tag::stripped(tag)).collect();
        let tag = |place: usize| tags.get(place).copied().unwrap_or(OUTSIDE);
        let mut entities = Vec::new();
        let mut place = 0;
        let mut before = OUTSIDE;
        while place < tags.len() {
            let start = place;
            place += 1;
            if scheme.begins(before, tag(start)) {
                while scheme.continues(tag(place - 1), tag(place)) {
                    place += 1;
                }
                if scheme.closes(tag(place - 1), tag(place)) {
                    entities.push(Entity {
                        start,
                        end: place,
                        kind: tag(start).kind,
                    });
                }
            }
            before = tag(place - 1);
        }
        entities
    }
}

/// A tag cut in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    prefix: char,
    kind: &'a str,
}

const PREFIXES: [char; 4] = ['B', 'I', 'E', 'S'];
const NO_KIND: &str = "_";
const OUTSIDE: Tag<'static> = Tag {
    prefix: 'O',
    kind: NO_KIND,
};

impl<'a> Tag<'a> {
    /// The first character, and what follows a hyphen after it. As `get_entities` cuts a tag.
    fn of(tag: &'a str) -> Tag<'a> {
        let (prefix, rest) = first(tag);
        let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
        Tag {
            prefix,
            kind: if kind.is_empty() { NO_KIND } else { kind },
        }
    }

    /// The first character, and the rest without hyphens around it. As seqeval's strict mode cuts a tag.
    fn stripped(tag: &'a str) -> Tag<'a> {
        let (prefix, rest) = first(tag);
        let kind = rest.trim_matches('-');
        Tag {
            prefix,
            kind: if kind.is_empty() { NO_KIND } else { kind },
        }
    }

    /// None if the tag is no chunk tag.
    fn chunk(tag: &'a str) -> Option<Tag<'a>> {
        if tag == "O" {
            return Some(OUTSIDE);
        }
        let rest = tag.strip_prefix(PREFIXES)?;
        (rest.is_empty() || rest.starts_with('-')).then(|| Tag::of(tag))
    }

    /// Whether an entity can go on after this tag.
    fn is_inside(self) -> bool {
        matches!(self.prefix, 'B' | 'I')
    }

    fn goes_on_to(self, next: Tag) -> bool {
        self.is_inside() && self.kind == next.kind
    }
}

/// An empty tag stands outside.
fn first(tag: &str) -> (char, &str) {
    let mut characters = tag.chars();
    let prefix = characters.next().unwrap_or(OUTSIDE.prefix);
    (prefix, characters.as_str())
}

//! Forms of verbs.

use super::super::wordnet::{Pos, WordNet};
use super::{Form, consonant_y, doubled, shares_start, with_s};

/// Verbs whose past and participle are their base. Compounds of them (`outbid`, `reread`) are told by their ending.
const UNCHANGED: &[&str] = &[
    "bet", "burst", "cast", "cost", "cut", "hit", "hurt", "let", "put", "quit", "read", "rid",
    "set", "shed", "shut", "slit", "split", "spread", "thrust", "upset", "wed", "bid",
];

/// Verbs that end like one of [`UNCHANGED`] and are regular.
const CHANGED: &[&str] = &[
    "abet", "acquit", "bread", "closet", "dread", "bullet", "compost", "accost", "exhibit",
    "outlet", "pellet", "ticket", "thread", "tread", "visit",
];

/// Verbs whose listed irregular forms are out of use or of another spelling; the regular form is right.
const REGULAR: &[&str] = &[
    "abide",
    "address",
    "bless",
    "burn",
    "bypass",
    "clothe",
    "coordinate",
    "curse",
    "dive",
    "dream",
    "gild",
    "gird",
    "gnaw",
    "grave",
    "grip",
    "heave",
    "lean",
    "leap",
    "learn",
    "melt",
    "overflow",
    "pen",
    "saw",
    "shave",
    "ski",
    "smell",
    "sneak",
    "spell",
    "spill",
    "spoil",
    "squeegee",
    "thrive",
    "transfix",
    "transship",
    "unlearn",
    "misspell",
    "work",
];

/// Verbs of which the lists hold more forms than are told apart by their endings: past, participle.
const TOLD: &[(&str, &str, &str)] = &[
    ("bear", "bore", "borne"),
    ("beget", "begot", "begotten"),
    ("bite", "bit", "bitten"),
    ("forbid", "forbade", "forbidden"),
    ("get", "got", "got"),
    ("have", "had", "had"),
    ("hide", "hid", "hidden"),
    ("lie", "lay", "lain"),
    ("shrink", "shrank", "shrunk"),
    ("sink", "sank", "sunk"),
    ("slide", "slid", "slid"),
    ("smite", "smote", "smitten"),
    ("spit", "spat", "spat"),
    ("shit", "shat", "shat"),
    ("stride", "strode", "stridden"),
];

/// Past and participle. What is `None` cannot be told.
struct Principal {
    past: Option<String>,
    participle: Option<String>,
}

impl Principal {
    fn both(form: impl Into<String>) -> Self {
        let form = form.into();
        Principal {
            past: Some(form.clone()),
            participle: Some(form),
        }
    }

    fn of(past: impl Into<String>, participle: impl Into<String>) -> Self {
        Principal {
            past: Some(past.into()),
            participle: Some(participle.into()),
        }
    }

    const NONE: Principal = Principal {
        past: None,
        participle: None,
    };
}

/// Which form of `lemma` the word is, which is not the lemma.
pub(super) fn form(wordnet: &WordNet, word: &str, lemma: &str) -> Option<Form> {
    if lemma == "be" {
        return None;
    }
    if word.ends_with("ing") {
        return Some(Form::Ing);
    }
    if word.ends_with('s') {
        return Some(Form::Third);
    }
    let Principal { past, participle } = principal(wordnet, lemma);
    match (
        past.as_deref() == Some(word),
        participle.as_deref() == Some(word),
    ) {
        (true, true) => Some(Form::PastOrParticiple),
        (true, false) => Some(Form::Past),
        (false, true) => Some(Form::Participle),
        (false, false) if word.ends_with(['d', 't']) => Some(Form::PastOrParticiple),
        (false, false) if word.ends_with('n') => Some(Form::Participle),
        (false, false) => None,
    }
}

/// Whether the base may be read as a past too: `put`, `read`.
pub(super) fn is_unchanged(verb: &str) -> bool {
    if CHANGED.contains(&verb) {
        return false;
    }
    const PREFIXES: &[&str] = &[
        "", "be", "broad", "cross", "fore", "in", "inter", "mis", "off", "out", "over", "pre",
        "proof", "re", "sub", "tele", "type", "un", "under", "up",
    ];
    PREFIXES.iter().any(|prefix| {
        verb.strip_prefix(prefix)
            .is_some_and(|rest| UNCHANGED.contains(&rest) && (prefix.is_empty() || rest != "rid"))
    })
}

/// A verb or a phrase with a verb first, in that form.
pub(super) fn inflected(wordnet: &WordNet, phrase: &str, form: Form) -> Option<String> {
    let (verb, rest) = match phrase.split_once(' ') {
        Some((verb, _)) => (verb, phrase.get(verb.len()..)?),
        None => (phrase, ""),
    };
    // The forms of `be` depend on the subject.
    if verb == "be"
        || !verb
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    {
        return None;
    }
    wordnet.lemma(verb, Pos::Verb)?;
    let Principal { past, participle } = principal(wordnet, verb);
    let verb = match form {
        Form::Third => third(wordnet, verb),
        Form::Ing => ing(wordnet, verb),
        Form::Past => past?,
        Form::Participle => participle?,
        Form::PastOrParticiple if past == participle => past?,
        Form::BaseOrPast if is_unchanged(verb) => verb.to_owned(),
        _ => return None,
    };
    Some(verb + rest)
}

fn third(wordnet: &WordNet, verb: &str) -> String {
    if verb == "have" {
        return "has".to_owned();
    }
    let doubled = format!("{verb}{}es", verb.chars().next_back().unwrap_or('s'));
    let listed = |form: &str| {
        wordnet
            .forms_of(verb, Pos::Verb)
            .iter()
            .any(|known| **known == *form)
    };
    if verb.ends_with(['s', 'z']) && listed(&doubled) {
        return doubled;
    }
    match verb.strip_suffix('o') {
        Some(stem) if !stem.ends_with(super::is_vowel) => format!("{verb}es"),
        _ => with_s(verb),
    }
}

fn ing(wordnet: &WordNet, verb: &str) -> String {
    let listed = wordnet
        .forms_of(verb, Pos::Verb)
        .iter()
        .find(|form| form.ends_with("ing") && !form.contains('_') && shares_start(form, verb));
    if let Some(listed) = listed
        && !REGULAR_ING.contains(&verb)
    {
        return listed.to_string();
    }
    if let Some(stem) = verb.strip_suffix("ie") {
        return format!("{stem}ying");
    }
    match verb.strip_suffix('e') {
        Some(stem) if !stem.ends_with(['e', 'o', 'y']) && verb != "singe" => format!("{stem}ing"),
        Some(_) => format!("{verb}ing"),
        None => format!("{}ing", compound_doubled(wordnet, verb)),
    }
}

/// Verbs whose listed form in -ing is another spelling than the common one.
const REGULAR_ING: &[&str] = &[
    "age",
    "coordinate",
    "cue",
    "queue",
    "mouse",
    "sing",
    "route",
];

/// As [`doubled`], and for compounds of a noun and a short verb too: `wiretapp-`.
fn compound_doubled(wordnet: &WordNet, verb: &str) -> String {
    const SHORTEST: usize = 4;
    let compound = (SHORTEST..verb.len()).any(|place| {
        verb.split_at_checked(place).is_some_and(|(noun, rest)| {
            !matches!(rest, "man" | "ram" | "sit")
                && doubled(rest) != rest
                && wordnet.lemma(rest, Pos::Verb).is_some()
                && wordnet.lemma(noun, Pos::Noun).is_some()
        })
    });
    match verb.chars().next_back() {
        Some(last) if compound => format!("{verb}{last}"),
        _ => doubled(verb),
    }
}

fn regular(wordnet: &WordNet, verb: &str) -> String {
    let k = format!("{verb}ked");
    let doubled_listed = verb
        .chars()
        .next_back()
        .map(|last| format!("{verb}{last}ed"))
        .filter(|form| {
            wordnet
                .lemmas_of(form, Pos::Verb)
                .iter()
                .any(|lemma| **lemma == *verb)
        });
    if let Some(form) = doubled_listed {
        form
    } else if !wordnet.lemmas_of(&k, Pos::Verb).is_empty() {
        k
    } else if verb.ends_with('e') {
        format!("{verb}d")
    } else if let Some(stem) = consonant_y(verb) {
        format!("{stem}ied")
    } else {
        format!("{}ed", compound_doubled(wordnet, verb))
    }
}

fn principal(wordnet: &WordNet, verb: &str) -> Principal {
    if verb == "be" {
        return Principal::NONE;
    }
    if let Some((_, past, participle)) = TOLD.iter().find(|(base, ..)| *base == verb) {
        return Principal::of(*past, *participle);
    }
    if is_unchanged(verb) {
        return Principal::both(verb);
    }
    let irregular: Vec<&str> = if REGULAR.contains(&verb) {
        Vec::new()
    } else {
        wordnet
            .forms_of(verb, Pos::Verb)
            .iter()
            .map(|form| &**form)
            .filter(|form| !form.ends_with("ing") && !form.ends_with('s'))
            // `led` and `fed` are irregular, `stopped` is not.
            .filter(|form| !form.ends_with("ed") || form.len() <= verb.len())
            .collect()
    };
    match irregular.as_slice() {
        [] => Principal::both(regular(wordnet, verb)),
        [only] => single(wordnet, verb, only),
        [one, other] => match (is_participle(one, other), is_participle(other, one)) {
            (true, false) => Principal::of(*other, *one),
            (false, true) => Principal::of(*one, *other),
            _ => Principal::NONE,
        },
        _ => Principal::NONE,
    }
}

/// The lists hold one irregular form: it is both, or the other is the base, or the other is regular.
fn single(wordnet: &WordNet, verb: &str, only: &str) -> Principal {
    let base_again = only.ends_with("came") || only.ends_with("ran");
    if base_again {
        Principal::of(only, verb)
    } else if verb.ends_with("beat") {
        Principal::of(verb, only)
    } else if only.ends_with('n') && !matches!(only, "won" | "spun" | "rewon") {
        Principal::of(regular(wordnet, verb), only)
    } else {
        Principal::both(only)
    }
}

/// Whether of two forms this is the participle: `gone`, `taken`; `sung` beside `sang`.
fn is_participle(form: &str, other: &str) -> bool {
    let vowel_change = form.replace('u', "a") == other && form != other;
    vowel_change
        || ["n", "ne"].iter().any(|ending| form.ends_with(ending)) && !other.ends_with('n')
        || (form.ends_with('n') && other.ends_with("an") && form.ends_with("un"))
}

//! Plurals of nouns.

use super::super::stop;
use super::super::wordnet::{Pos, WordNet};
use super::with_s;

/// Listed plurals that are out of use, rare, or of another meaning; the regular plural is right.
const REGULAR: &[&str] = &[
    "ban", "bandit", "beef", "brother", "bus", "camera", "cloth", "colon", "coma", "corona", "cow",
    "cry", "dogma", "focus", "gas", "genius", "halter", "lat", "lure", "lustre", "mamma", "morse",
    "os", "pea", "penny", "pfennig", "sole", "staff", "turf", "dwarf",
];

/// Nouns of Latin and Greek that keep their plurals.
const CLASSICAL: &[&str] = &[
    "addendum",
    "alga",
    "alumnus",
    "bacillus",
    "bacterium",
    "corpus",
    "criterion",
    "curriculum",
    "datum",
    "erratum",
    "fungus",
    "genus",
    "larva",
    "locus",
    "matrix",
    "medium",
    "memorandum",
    "millennium",
    "minutia",
    "nebula",
    "nucleus",
    "ovum",
    "phenomenon",
    "radius",
    "spectrum",
    "stimulus",
    "stratum",
    "vertebra",
    "vertex",
];

/// Nouns in -man that are no compounds of `man`.
const NO_MEN: &[&str] = &[
    "caiman",
    "cayman",
    "german",
    "hetman",
    "human",
    "norman",
    "ottoman",
    "roman",
    "shaman",
    "superhuman",
    "talisman",
];

/// Nouns that have no plural, or whose plural is another thing.
const UNCOUNTED: &[&str] = &[
    "flesh",
    "womanhood",
    "manhood",
    "personnel",
    "humanity",
    "mankind",
    "humankind",
    "fry",
    "womankind",
    "transportation",
    "underwear",
    "advice",
    "applause",
    "baggage",
    "behavior",
    "behaviour",
    "bread",
    "butter",
    "cash",
    "cattle",
    "clothing",
    "courage",
    "deer",
    "dirt",
    "dough",
    "equipment",
    "evidence",
    "fame",
    "filth",
    "folk",
    "fun",
    "furniture",
    "garbage",
    "glee",
    "gold",
    "grief",
    "hair",
    "happiness",
    "hardware",
    "harm",
    "health",
    "help",
    "homework",
    "housework",
    "humor",
    "humour",
    "information",
    "jewellery",
    "jewelry",
    "joy",
    "junk",
    "knowledge",
    "legislation",
    "leisure",
    "luck",
    "luggage",
    "lunacy",
    "machinery",
    "mail",
    "merchandise",
    "milk",
    "money",
    "moose",
    "mud",
    "music",
    "news",
    "nonsense",
    "patience",
    "people",
    "photography",
    "poetry",
    "police",
    "rain",
    "research",
    "rubbish",
    "safety",
    "scenery",
    "sheep",
    "shrimp",
    "silence",
    "slang",
    "software",
    "stuff",
    "swine",
    "traffic",
    "trash",
    "trout",
    "violence",
    "warmth",
    "wealth",
    "weather",
    "wildlife",
    "wit",
    "work",
];

/// Nouns in -ing that are counted.
const COUNTED_ING: &[&str] = &[
    "beginning",
    "being",
    "blessing",
    "building",
    "ceiling",
    "clearing",
    "crossing",
    "drawing",
    "dressing",
    "ending",
    "engraving",
    "evening",
    "feeling",
    "filling",
    "finding",
    "gathering",
    "greeting",
    "hearing",
    "king",
    "landing",
    "meaning",
    "meeting",
    "misgiving",
    "misunderstanding",
    "morning",
    "offering",
    "offspring",
    "opening",
    "outing",
    "painting",
    "rating",
    "reading",
    "recording",
    "ring",
    "saying",
    "screening",
    "seasoning",
    "serving",
    "setting",
    "showing",
    "sibling",
    "song",
    "spring",
    "string",
    "swing",
    "thing",
    "turning",
    "undertaking",
    "warning",
    "wedding",
    "wing",
    "writing",
    "wrapping",
    "yearning",
];

/// Nouns in -ness that are counted.
const COUNTED_NESS: &[&str] = &[
    "business",
    "harness",
    "illness",
    "likeness",
    "sickness",
    "weakness",
    "wilderness",
    "witness",
];

/// Nouns in -s that are one thing.
const SINGULAR_S: &[&str] = &[
    "alias",
    "atlas",
    "bias",
    "canvas",
    "gas",
    "lens",
    "pancreas",
    "christmas",
    "iris",
];

/// Words within a noun that make another than its last word its head, besides prepositions.
const INNER: &[&str] = &["a", "and", "de", "down", "or", "the", "to", "up"];

/// The plural of a noun or a phrase that ends in one.
pub(super) fn plural(wordnet: &WordNet, noun: &str) -> Option<String> {
    let start = noun.rfind(' ').map_or(0, |space| space + 1);
    let (first, last) = noun.split_at_checked(start)?;
    let inner = noun
        .split([' ', '-'])
        .any(|word| INNER.contains(&word) || stop::contains(stop::PREPOSITIONS, word));
    if inner || !last.ends_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    Some(format!("{first}{}", single(wordnet, last)?))
}

fn single(wordnet: &WordNet, noun: &str) -> Option<String> {
    let acronym = noun.chars().skip(1).any(char::is_uppercase);
    if acronym {
        return noun
            .ends_with(char::is_uppercase)
            .then(|| format!("{noun}s"));
    }
    let lower = noun.to_lowercase();
    if UNCOUNTED.contains(&&*lower)
        || (lower.ends_with("ing") && !COUNTED_ING.contains(&&*lower))
        || (lower.ends_with("ness") && !COUNTED_NESS.contains(&&*lower))
        || lower.ends_with("ics")
        || (lower.ends_with("ism") && !lower.ends_with("anism"))
        || is_plural_lemma(wordnet, &lower)
    {
        return None;
    }
    if noun == lower && !REGULAR.contains(&noun) {
        if let Some(listed) = listed(wordnet, noun) {
            return Some(listed);
        }
        let stem = noun.strip_suffix("man").filter(|_| !NO_MEN.contains(&noun));
        if let Some(stem) = stem {
            return Some(format!("{stem}men"));
        }
    }
    let one = ["ss", "us", "x"]
        .iter()
        .any(|ending| lower.ends_with(ending));
    if lower.ends_with('s') && !one && !SINGULAR_S.contains(&&*lower) {
        return None;
    }
    if noun.ends_with("z") && !noun.ends_with("tz") && !noun.ends_with("zz") {
        return None;
    }
    // A name keeps its letters: `Kennedys`.
    if noun != lower && noun.ends_with('y') {
        return Some(format!("{noun}s"));
    }
    Some(with_s(noun))
}

/// The irregular plural that the list has and English keeps.
fn listed(wordnet: &WordNet, noun: &str) -> Option<String> {
    let classical = CLASSICAL.contains(&noun);
    wordnet
        .forms_of(noun, Pos::Noun)
        .iter()
        .map(|form| &**form)
        .filter(|form| *form != noun && !form.contains(['_', '-']) && !form.ends_with("ing"))
        .find(|form| {
            classical || form.ends_with('s') && !is_latin(form, noun) || changes_within(form, noun)
        })
        .map(str::to_owned)
}

/// `-ices` and `-ae` and `-i` and their like, where the regular plural is as good or better.
fn is_latin(form: &str, noun: &str) -> bool {
    ["ices", "ines", "ides"]
        .iter()
        .any(|ending| form.ends_with(ending))
        && !noun.ends_with('e')
}

/// `men`, `feet`, `mice`, `children`, `oxen`.
fn changes_within(form: &str, noun: &str) -> bool {
    form.ends_with("men") && noun.ends_with("man")
        || ["feet", "teeth", "geese", "mice", "lice", "children", "oxen"]
            .iter()
            .any(|ending| form.ends_with(ending))
}

/// See [`super::is_plural_lemma`].
pub(super) fn is_plural_lemma(wordnet: &WordNet, lemma: &str) -> bool {
    const SHORTEST: usize = 4;
    let last = lemma.rsplit([' ', '_']).next().unwrap_or(lemma);
    let plural = last.ends_with('s')
        && !["ss", "us", "is"]
            .iter()
            .any(|ending| last.ends_with(ending));
    if !plural || last.len() < SHORTEST || SINGULAR_S.contains(&last) {
        return false;
    }
    wordnet
        .bases(last, Pos::Noun)
        .iter()
        .any(|base| base.name != last)
}

//! The lines in which two texts differ.
//!
//! The longest common subsequence of lines, found by the table of Wagner and Fischer (1974) over what differs between the
//! common beginning and the common end.
//!
//! Deliberately absent: words within lines.

/// Differences larger than this, in lines of one × lines of the other, are shown as all of one and all of the other.
const MOST: usize = 4_000_000;

/// The lines of both texts: `=` both, `-` of the old one alone, `+` of the new one alone.
pub fn difference(old: &str, new: &str) -> Vec<(char, String)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let both = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = both.take_while(|(a, b)| a == b).count();
    let (a, b) = (
        &old_rest[..old_rest.len() - end],
        &new_rest[..new_rest.len() - end],
    );
    let mut lines = Vec::new();
    let mut tell = |sign: char, some: &[&str]| {
        lines.extend(some.iter().map(|line| (sign, (*line).to_owned())));
    };
    tell('=', &old[..begin]);
    if a.len().saturating_mul(b.len()) > MOST {
        tell('-', a);
        tell('+', b);
    } else {
        // The length of the longest common subsequence of what is left of both: [a.len() + 1, b.len() + 1].
        let width = b.len() + 1;
        let mut common = vec![0_u32; (a.len() + 1) * width];
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                let (down, right) = (common[(i + 1) * width + j], common[i * width + j + 1]);
                common[i * width + j] = match a[i] == b[j] {
                    true => common[(i + 1) * width + j + 1] + 1,
                    false => down.max(right),
                };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            if i < a.len() && j < b.len() && a[i] == b[j] {
                tell('=', &a[i..=i]);
                (i, j) = (i + 1, j + 1);
            } else if i < a.len()
                && (j == b.len() || common[(i + 1) * width + j] >= common[i * width + j + 1])
            {
                tell('-', &a[i..=i]);
                i += 1;
            } else {
                tell('+', &b[j..=j]);
                j += 1;
            }
        }
    }
    tell('=', &old_rest[old_rest.len() - end..]);
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_line_is_told_as_old_and_new() {
        let told: String = difference("a\nb = 1\nc\n", "a\nb = 2\nc\nd\n")
            .into_iter()
            .map(|(sign, line)| format!("{sign}{line};"))
            .collect();
        assert_eq!(told, "=a;-b = 1;+b = 2;=c;+d;");
        assert!(
            difference("x\n", "x\n")
                .iter()
                .all(|(sign, _)| *sign == '=')
        );
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_from_their_difference(old in "([abc]\n){0,12}", new in "([abc]\n){0,12}") {
            let lines = difference(&old, &new);
            let of = |other: char| -> String {
                let own = lines.iter().filter(|(sign, _)| *sign != other);
                own.map(|(_, line)| format!("{line}\n")).collect()
            };
            prop_assert_eq!(of('+'), old);
            prop_assert_eq!(of('-'), new);
        }
    }
}

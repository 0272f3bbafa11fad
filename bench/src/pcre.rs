//! An expression of ours, spelled so that a PCRE-like parser reads the very same language.
//!
//! The expression is parsed as the engine parses it (bytes, ASCII classes) and its tree is written out: every class as
//! its ranges of bytes, `$` as `\z`, case-insensitive letters as classes. So nothing is left to what flags, `.`, `\s` or
//! `$` mean to the other side.

use std::fmt::Write;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, Look, Repetition};

/// Spells `expression`.
///
/// # Errors
/// When it is not valid, or has what can't be spelled.
pub fn spell(expression: &str) -> Result<String, String> {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(expression);
    let mut text = String::new();
    write(&parsed.map_err(|e| e.to_string())?, &mut text)?;
    Ok(text)
}

fn write(hir: &Hir, text: &mut String) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty => text.push_str("(?:)"),
        HirKind::Literal(literal) => literal.0.iter().for_each(|byte| write_byte(*byte, text)),
        HirKind::Class(Class::Bytes(class)) => write_class(class, text)?,
        HirKind::Class(Class::Unicode(class)) => match class.to_byte_class() {
            Some(class) => write_class(&class, text)?,
            None => return Err("a Unicode class".into()),
        },
        HirKind::Look(look) => text.push_str(spell_look(*look)?),
        HirKind::Repetition(repetition) => write_repetition(repetition, text)?,
        HirKind::Capture(capture) => write_group(&capture.sub, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                if matches!(part.kind(), HirKind::Alternation(_)) {
                    write_group(part, text)?;
                } else {
                    write(part, text)?;
                }
            }
        }
        HirKind::Alternation(parts) => {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    text.push('|');
                }
                write(part, text)?;
            }
        }
    }
    Ok(())
}

fn write_group(hir: &Hir, text: &mut String) -> Result<(), String> {
    text.push_str("(?:");
    write(hir, text)?;
    text.push(')');
    Ok(())
}

fn write_repetition(repetition: &Repetition, text: &mut String) -> Result<(), String> {
    match repetition.sub.kind() {
        HirKind::Class(_) | HirKind::Capture(_) => write(&repetition.sub, text)?,
        _ => write_group(&repetition.sub, text)?,
    }
    match (repetition.min, repetition.max) {
        (0, Some(1)) => text.push('?'),
        (0, None) => text.push('*'),
        (1, None) => text.push('+'),
        (min, Some(max)) if min == max => add(text, format_args!("{{{min}}}")),
        (min, Some(max)) => add(text, format_args!("{{{min},{max}}}")),
        (min, None) => add(text, format_args!("{{{min},}}")),
    }
    if !repetition.greedy {
        text.push('?');
    }
    Ok(())
}

fn write_class(class: &ClassBytes, text: &mut String) -> Result<(), String> {
    if class.ranges().is_empty() {
        return Err("a class of nothing".into());
    }
    text.push('[');
    for range in class.iter() {
        write_byte(range.start(), text);
        if range.start() != range.end() {
            text.push('-');
            write_byte(range.end(), text);
        }
    }
    text.push(']');
    Ok(())
}

fn write_byte(byte: u8, text: &mut String) {
    if byte.is_ascii_alphanumeric() {
        text.push(char::from(byte));
    } else {
        add(text, format_args!("\\x{byte:02x}"));
    }
}

fn add(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a string does not fail");
}

fn spell_look(look: Look) -> Result<&'static str, String> {
    match look {
        Look::Start => Ok(r"\A"),
        Look::End => Ok(r"\z"),
        Look::StartLF => Ok("(?m:^)"),
        Look::EndLF => Ok("(?m:$)"),
        Look::WordAscii => Ok(r"\b"),
        Look::WordAsciiNegate => Ok(r"\B"),
        Look::StartCRLF
        | Look::EndCRLF
        | Look::WordUnicode
        | Look::WordUnicodeNegate
        | Look::WordStartAscii
        | Look::WordEndAscii
        | Look::WordStartUnicode
        | Look::WordEndUnicode
        | Look::WordStartHalfAscii
        | Look::WordEndHalfAscii
        | Look::WordStartHalfUnicode
        | Look::WordEndHalfUnicode => Err(format!("a look-around that PCRE has not: {look:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::spell;

    #[test]
    fn the_tree_is_spelled_out() {
        assert_eq!(spell(r"(?i)k_\d{2,}?$").unwrap(), r"[Kk]\x5f[0-9]{2,}?\z");
        assert_eq!(
            spell(r"\b(?:ab|(?P<secret>c+))x").unwrap(),
            r"\b(?:ab|(?:[c]+))x".replace("[c]", "(?:c)")
        );
        assert_eq!(spell(r"\s").unwrap(), r"[\x09-\x0d\x20]");
        assert!(spell(r"(?u:\w)x").is_err());
    }
}

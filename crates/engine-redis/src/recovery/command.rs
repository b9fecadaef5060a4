//! A command as its owner put it, and an answer as `redis-cli` prints it where nobody looks on. Pure.

use redis::Value;

/// The words of a command, parted as `redis-cli` parts them: by blanks outside of quotes, with escapes within double ones.
pub(super) fn words(line: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start().as_bytes();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    if words.is_empty() { Err("there is no command") } else { Ok(words) }
}

fn word(line: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let quote = match line.first() {
        Some(&quote @ (b'"' | b'\'')) => quote,
        _ => {
            let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
            return Ok((line[..end].to_vec(), &line[end..]));
        }
    };
    let (mut word, mut rest) = (Vec::new(), &line[1..]);
    loop {
        match rest {
            [] => return Err("a quote is not closed"),
            [end, after @ ..] if *end == quote => {
                let parted = after.first().is_none_or(u8::is_ascii_whitespace);
                return if parted { Ok((word, after)) } else { Err("a closing quote is followed by more") };
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = after;
            }
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = [*high, *low];
                let text = std::str::from_utf8(&digits).unwrap_or("0");
                word.push(u8::from_str_radix(text, 16).unwrap_or_default());
                rest = after;
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// What `redis-cli` prints when its output is no terminal, without the space around it.
pub(super) fn printed(answer: &Value) -> String {
    raw(answer).trim().to_owned()
}

fn raw(answer: &Value) -> String {
    match answer {
        Value::Nil => String::new(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Array(values) | Value::Set(values) => values.iter().map(raw).collect::<Vec<_>>().join("\n"),
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => u8::from(*truth).to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{printed, words};

    #[test]
    fn a_line_is_parted_as_the_client_parts_it() {
        for (line, expected) in [
            ("GET a", Ok(vec!["GET", "a"])),
            ("  GET   a  ", Ok(vec!["GET", "a"])),
            (r#"SET "a b" 'c "d"'"#, Ok(vec!["SET", "a b", "c \"d\""])),
            (r#"ECHO "\x41\n\"""#, Ok(vec!["ECHO", "A\n\""])),
            (r"ECHO 'it\'s'", Ok(vec!["ECHO", "it's"])),
            ("GET \"a", Err("a quote is not closed")),
            ("GET \"a\"b", Err("a closing quote is followed by more")),
            (" ", Err("there is no command")),
        ] {
            let expected = expected.map(|words| words.into_iter().map(|word| word.as_bytes().to_vec()).collect());
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn answers_are_printed_as_the_client_prints_them() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        for (answer, expected) in [
            (Value::Nil, ""),
            (Value::Int(-3), "-3"),
            (bulk("text\n"), "text"),
            (Value::Okay, "OK"),
            (Value::Array(vec![bulk("a"), Value::Int(1), Value::Array(vec![bulk("b")])]), "a\n1\nb"),
        ] {
            assert_eq!(printed(&answer), expected, "{answer:?}");
        }
    }
}

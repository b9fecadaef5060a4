//! Reads the first version of HCL, in which Vault's policies are written, into a [`Tree`].
//!
//! A text is a row of items. An item is `key = value` or `key "label" { items }`; keys are words or quoted, labels are
//! further keys, and become objects in objects. Commas between items may be left out, commas in lists may not. Line
//! ends mean nothing. There are comments of three kinds: `#`, `//`, and `/* */`.

use serde_json::Value;

use crate::tree::{DEEPEST, Entry, Tree};

/// Where a text is not HCL, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    pub line: usize,
    pub problem: String,
}

/// Reads a whole text.
pub(crate) fn read(text: &str) -> Result<Tree, SyntaxError> {
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1, depth: 0 };
    let entries = reader.entries(None)?;
    Ok(Tree::Object(entries))
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

impl Reader<'_> {
    /// Items up to a closing brace, or up to the text's end where there is none to wait for.
    fn entries(&mut self, end: Option<char>) -> Result<Vec<Entry>, SyntaxError> {
        let mut entries = Vec::new();
        loop {
            self.skip_blank()?;
            match self.rest.chars().next() {
                None if end.is_none() => return Ok(entries),
                None => return Err(self.problem("a closing } is missing")),
                found if found == end => {
                    self.advance(1);
                    return Ok(entries);
                }
                // Commas between items are for those who are used to them.
                Some(',') if !entries.is_empty() => self.advance(1),
                Some(_) => entries.push(self.entry()?),
            }
        }
    }

    fn entry(&mut self) -> Result<Entry, SyntaxError> {
        let line = self.line;
        let key = self.key()?;
        let mut labels = Vec::new();
        let mut value = loop {
            self.skip_blank()?;
            match self.rest.chars().next() {
                Some('=') if labels.is_empty() => {
                    self.advance(1);
                    break self.value()?;
                }
                Some('{') => break self.value()?,
                // More than DEEPEST labels would nest too deep as well.
                Some('"' | '_' | 'a'..='z' | 'A'..='Z') if labels.len() < DEEPEST => {
                    labels.push((self.line, self.key()?));
                }
                _ => return Err(self.problem(&format!("after the key {key:?} there has to be = or {{"))),
            }
        };
        for (line, label) in labels.into_iter().rev() {
            value = Tree::Object(vec![Entry { key: label, line: Some(line), value }]);
        }
        Ok(Entry { key, line: Some(line), value })
    }

    fn key(&mut self) -> Result<String, SyntaxError> {
        match self.rest.chars().next() {
            Some('"') => self.text(),
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => Ok(self.word().to_owned()),
            _ => Err(self.unexpected("a key")),
        }
    }

    fn value(&mut self) -> Result<Tree, SyntaxError> {
        self.skip_blank()?;
        match self.rest.chars().next() {
            Some('"') => Ok(Tree::Scalar(self.text()?.into())),
            Some('{') => self.nested(|reader| reader.entries(Some('}')).map(Tree::Object)),
            Some('[') => self.nested(|reader| reader.items().map(Tree::List)),
            Some('-' | '0'..='9') => self.number(),
            Some(letter) if letter.is_ascii_alphabetic() => match self.word() {
                "true" => Ok(Tree::Scalar(true.into())),
                "false" => Ok(Tree::Scalar(false.into())),
                word => {
                    let problem = format!("{word} is not a value; texts stand in quotes");
                    Err(self.problem(&problem))
                }
            },
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Reads what is between brackets, which have not been passed yet.
    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Tree, SyntaxError>) -> Result<Tree, SyntaxError> {
        if self.depth == DEEPEST {
            return Err(self.problem(&format!("it nests deeper than {DEEPEST} levels")));
        }
        self.advance(1);
        self.depth += 1;
        let tree = read(self)?;
        self.depth -= 1;
        Ok(tree)
    }

    /// A list's items up to its closing bracket. A comma may follow the last one.
    fn items(&mut self) -> Result<Vec<Tree>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.rest.starts_with(']') {
                self.advance(1);
                return Ok(items);
            }
            items.push(self.value()?);
            self.skip_blank()?;
            if self.rest.starts_with(',') {
                self.advance(1);
            } else if !self.rest.starts_with(']') {
                return Err(self.unexpected("a comma or ]"));
            }
        }
    }

    fn number(&mut self) -> Result<Tree, SyntaxError> {
        let end = self.rest.find(|letter: char| !matches!(letter, '-' | '+' | '.' | '0'..='9' | 'a'..='z' | 'A'..='Z'));
        let number = &self.rest[..end.unwrap_or(self.rest.len())];
        let value = match number.strip_prefix("0x") {
            Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok().map(Value::from),
            None => number.parse::<i64>().map(Value::from).or_else(|_| number.parse::<f64>().map(Value::from)).ok(),
        };
        let Some(value) = value else { return Err(self.problem(&format!("{number} is not a number"))) };
        self.advance(number.len());
        Ok(Tree::Scalar(value))
    }

    /// Letters, digits and what HCL takes for them in names.
    fn word(&mut self) -> &str {
        let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A text in quotes, which ends on its line.
    fn text(&mut self) -> Result<String, SyntaxError> {
        let mut text = String::new();
        let mut letters = self.rest[1..].chars();
        while let Some(letter) = letters.next() {
            match letter {
                '"' => {
                    self.rest = letters.as_str();
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match escaped(&mut letters) {
                    Some(letter) => text.push(letter),
                    None => return Err(self.problem("a backslash in a text stands before one of \\ \" n r t u")),
                },
                letter => text.push(letter),
            }
        }
        Err(self.problem("a text lacks its closing quote"))
    }

    /// Passes white space and comments.
    fn skip_blank(&mut self) -> Result<(), SyntaxError> {
        loop {
            let comment = match self.rest.as_bytes() {
                [b'#', ..] | [b'/', b'/', ..] => self.rest.find('\n').unwrap_or(self.rest.len()),
                [b'/', b'*', ..] => match self.rest.find("*/") {
                    Some(end) => end + 2,
                    None => return Err(self.problem("a comment lacks its closing */")),
                },
                [blank, ..] if blank.is_ascii_whitespace() => 1,
                _ => return Ok(()),
            };
            self.advance(comment);
        }
    }

    /// Passes bytes, counting their lines.
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        match self.rest.chars().next() {
            None => self.problem(&format!("{wanted} is missing at the end")),
            Some(found) => self.problem(&format!("there has to be {wanted} instead of {found:?}")),
        }
    }

    fn problem(&self, problem: &str) -> SyntaxError {
        SyntaxError { line: self.line, problem: problem.to_owned() }
    }
}

/// What a backslash in a text stands for, with the letters after it.
fn escaped(letters: &mut std::str::Chars<'_>) -> Option<char> {
    match letters.next()? {
        letter @ ('\\' | '"') => Some(letter),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let digits = letters.as_str().get(..4)?;
            let letter = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            *letters = letters.as_str()[4..].chars();
            Some(letter)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::read;

    #[test]
    fn the_first_hcl_is_read() {
        let table = [
            ("", json!({})),
            ("\u{feff}# only a comment", json!({})),
            (r#"a = "b" c = 1, d = -2.5 e = true"#, json!({"a": "b", "c": 1, "d": -2.5, "e": true})),
            (r#"path "x/*" { policy = "read" }"#, json!({"path": {"x/*": {"policy": "read"}}})),
            (r#""path" = { "x" = { n = 0x1f } }"#, json!({"path": {"x": {"n": 31}}})),
            ("a { b = [1, \"two\", [],\n { c = 3 },\n] }", json!({"a": {"b": [1, "two", [], {"c": 3}]}})),
            ("// one\n/* two\n three */ a = 1 # four\n", json!({"a": 1})),
            (r#"a = "\"\\ \n \u00e9 ${not} {{this}}""#, json!({"a": "\"\\ \n é ${not} {{this}}"})),
            ("h_-.1ä = 1", json!({"h_-.1ä": 1})),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).map(|tree| tree.to_json()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let table = [
            ("a = 1\nb", 2, "= or {"),
            ("a {\n\n", 3, "closing }"),
            ("a = [1 2]", 1, "a comma or ]"),
            ("a = \"b\n\"", 1, "closing quote"),
            ("\na = word", 2, "stand in quotes"),
            ("a = 1x", 1, "not a number"),
            ("a = \"\\x\"", 1, "backslash"),
            ("a = \"\\ud800\"", 1, "backslash"),
            ("/* ", 1, "closing */"),
            ("}", 1, "a key"),
            ("a = ]", 1, "a value"),
            ("a b = 1", 1, "= or {"),
            (", a = 1", 1, "a key"),
            ("ä = 1", 1, "a key"),
        ];
        for (text, line, problem) in table {
            let error = read(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.problem.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn brackets_do_not_use_up_the_stack() {
        for bracket in ["a = [", "a {", "[", "{", "a "] {
            assert!(read(&bracket.repeat(10_000)).is_err());
        }
        assert!(read(&format!("a = {}", "[".repeat(10_000))).expect_err("too deep").problem.contains("deeper than"));
    }
}

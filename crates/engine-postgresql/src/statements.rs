//! Creation statements as users of Vault write them: filled in, cut into single ones, and read as far as needed. Pure.
//!
//! What runs them has no more rights than the instance's owner, so that nothing depends on this being a whole SQL
//! parser: a text that is cut in the wrong place fails on the server.

use mainstay_engine::EngineError;
use mainstay_types::Timestamp;

/// What stands for the password. It is never filled in: a statement is no place for one.
const PASSWORD: &str = "{{password}}";

/// Options of `CREATE ROLE` that say what every role of ours is like anyway.
const GIVEN: [&str; 9] = [
    "WITH",
    "LOGIN",
    "INHERIT",
    "NOINHERIT",
    "NOSUPERUSER",
    "NOCREATEDB",
    "NOCREATEROLE",
    "NOREPLICATION",
    "NOBYPASSRLS",
];

/// The statements to run for a user, one by one, after the engine has made its role: without the statement that would
/// make it, and with its name and its end filled in.
pub(crate) fn prepare(
    statements: &[String],
    username: &str,
    valid_until: Timestamp,
) -> Result<Vec<String>, EngineError> {
    let expiration = valid_until.to_string();
    let mut prepared = Vec::new();
    for text in statements {
        let text = text.replace("{{name}}", username).replace("{{username}}", username);
        let text = text.replace("{{expiration}}", &expiration);
        for statement in cut(&text) {
            match made_role(&statement.tokens) {
                Some((name, options)) if name.is(username) => check_options(options, &expiration)?,
                _ if statement.text.contains(PASSWORD) => return Err(password_used()),
                _ => prepared.push(statement.text.to_owned()),
            }
        }
    }
    Ok(prepared)
}

/// One statement, without the semicolon that ends it.
struct Statement<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
}

/// A part of a statement, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// A key word, a number, or a name without quotes.
    Word(&'a str),
    /// A name in double quotes, as it stands between them.
    Name(&'a str),
    /// A text in quotes of whatever kind, as it stands between them.
    Text(&'a str),
    Symbol,
}

impl Token<'_> {
    /// Whether it is this key word, or this name of small letters.
    fn is(&self, wanted: &str) -> bool {
        match self {
            Token::Word(word) => word.eq_ignore_ascii_case(wanted),
            Token::Name(name) => *name == wanted,
            Token::Text(_) | Token::Symbol => false,
        }
    }
}

/// The name of the role that a statement makes, and the options that follow it.
fn made_role<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t Token<'a>, &'t [Token<'a>])> {
    match tokens {
        [Token::Word(create), Token::Word(kind), name, options @ ..]
            if create.eq_ignore_ascii_case("CREATE")
                && ["ROLE", "USER"].iter().any(|known| kind.eq_ignore_ascii_case(known)) =>
        {
            Some((name, options))
        }
        _ => None,
    }
}

/// Whether the role that a statement would make is the one that the engine makes. One that asks for more is not passed
/// over: whoever wrote it would believe that they got it.
fn check_options(mut options: &[Token<'_>], expiration: &str) -> Result<(), EngineError> {
    loop {
        options = match options {
            [] => return Ok(()),
            [Token::Word(encrypted), rest @ ..] if encrypted.eq_ignore_ascii_case("ENCRYPTED") => rest,
            [password, Token::Text(PASSWORD), rest @ ..] if password.is("PASSWORD") => rest,
            [valid, until, Token::Text(end), rest @ ..]
                if valid.is("VALID") && until.is("UNTIL") && *end == expiration =>
            {
                rest
            }
            [option, rest @ ..] if GIVEN.iter().any(|given| option.is(given)) => rest,
            [option, ..] => {
                let option = match option {
                    Token::Word(word) => word,
                    Token::Name(text) | Token::Text(text) => text,
                    Token::Symbol => "a symbol",
                };
                let option: String = option.chars().take(40).collect();
                return Err(EngineError::permanent(
                    format!("the statement that makes the user has an option that it can not have, at {option:?}"),
                    "write CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}', \
                     and give rights with GRANT",
                ));
            }
        };
    }
}

fn password_used() -> EngineError {
    EngineError::permanent(
        "a statement uses {{password}} elsewhere than to make the user",
        "leave it out: the engine sets the password itself, so that no statement ever holds it",
    )
}

/// Cuts a text at the semicolons that are not within quotes or comments. What is empty is left out.
fn cut(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let (mut begin, mut at, mut tokens) = (0, 0, Vec::new());
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { break };
        let length = match first {
            ';' => {
                let text = text[begin..at].trim();
                let tokens = std::mem::take(&mut tokens);
                statements.push(Statement { text, tokens });
                begin = at + 1;
                1
            }
            '\'' => quoted(rest, 0, '\'', false, Token::Text, &mut tokens),
            '"' => quoted(rest, 0, '"', false, Token::Name, &mut tokens),
            'e' | 'E' if rest[1..].starts_with('\'') => quoted(rest, 1, '\'', true, Token::Text, &mut tokens),
            '$' if dollar_tag(rest).is_some() => {
                let tag = dollar_tag(rest).unwrap_or_default();
                let inner = &rest[tag.len()..];
                let end = inner.find(tag).unwrap_or(inner.len());
                tokens.push(Token::Text(&inner[..end]));
                (tag.len() + end + tag.len()).min(rest.len())
            }
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            letter if is_word(letter) => {
                let end = rest.find(|letter| !is_word(letter) && letter != '$').unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..end]));
                end
            }
            space if space.is_whitespace() => space.len_utf8(),
            symbol => {
                tokens.push(Token::Symbol);
                symbol.len_utf8()
            }
        };
        at += length;
    }
    statements.push(Statement { text: text[begin..].trim(), tokens });
    // A comment alone has no tokens.
    statements.retain(|statement| !statement.tokens.is_empty());
    statements
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii()
}

/// Reads what is within quotes that begin after a prefix; gives its length with everything. A quote that is doubled
/// does not end it, nor, with escapes, one after a backslash.
fn quoted<'a>(
    rest: &'a str,
    prefix: usize,
    quote: char,
    escapes: bool,
    token: fn(&'a str) -> Token<'a>,
    tokens: &mut Vec<Token<'a>>,
) -> usize {
    let begin = prefix + 1;
    let mut letters = rest[begin..].char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            tokens.push(token(&rest[begin..begin + at]));
            return begin + at + 1;
        }
    }
    tokens.push(token(&rest[begin..]));
    rest.len()
}

/// The tag that a text in dollar quotes begins with, `$$` or `$body$`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end = 1 + rest[1..].find('$')?;
    let name = &rest[1..end];
    let fits = name.chars().all(is_word) && !name.starts_with(|letter: char| letter.is_ascii_digit());
    fits.then(|| &rest[..=end])
}

/// The length of a comment, within which there may be others.
fn comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;

    use super::{cut, prepare};

    fn prepared(statements: &[&str]) -> Result<Vec<String>, String> {
        let statements: Vec<String> = statements.iter().map(|statement| (*statement).to_owned()).collect();
        prepare(&statements, "b_1_1", Timestamp::EPOCH).map_err(|error| error.to_string())
    }

    #[test]
    fn the_statement_that_makes_the_user_is_left_to_the_engine() {
        let grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"b_1_1\"";
        for tutorial in [
            "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";",
            "create user \"{{username}}\" with encrypted password '{{password}}' inherit;\n\
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{username}}\"",
            "/* the user */ CREATE ROLE {{name}} NOSUPERUSER LOGIN -- ; no more\n\
             ;;GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";",
        ] {
            assert_eq!(prepared(&[tutorial]).unwrap(), [grant], "{tutorial}");
        }
        assert_eq!(prepared(&["CREATE ROLE \"{{name}}\" LOGIN"]).unwrap(), Vec::<String>::new());
        // Another role is for the server to refuse.
        assert_eq!(prepared(&["CREATE ROLE \"other\" SUPERUSER"]).unwrap(), ["CREATE ROLE \"other\" SUPERUSER"]);
        assert_eq!(prepared(&["CREATE ROLE \"B_1_1\" LOGIN"]).unwrap(), ["CREATE ROLE \"B_1_1\" LOGIN"]);
    }

    #[test]
    fn options_that_a_user_can_not_have_are_refused() {
        for option in [
            "SUPERUSER",
            "CREATEDB",
            "CREATEROLE",
            "REPLICATION",
            "BYPASSRLS",
            "IN ROLE admin",
            "CONNECTION LIMIT 3",
            "PASSWORD 'mine'",
            "PASSWORD NULL",
            "VALID UNTIL 'infinity'",
            "NOLOGIN",
            "ADMIN x",
        ] {
            let refusal = prepared(&[&format!("CREATE ROLE \"{{{{name}}}}\" WITH LOGIN {option}")]).unwrap_err();
            assert!(refusal.contains("an option that it can not have"), "{option}: {refusal}");
        }
    }

    #[test]
    fn a_password_is_in_no_statement() {
        for statement in [
            "ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'",
            "DO $$ BEGIN EXECUTE 'CREATE ROLE \"{{name}}\" PASSWORD ''{{password}}'''; END $$",
            "SELECT 1 /* {{password}} */",
            "CREATE ROLE \"other\" PASSWORD '{{password}}'",
            "INSERT INTO leaked VALUES ('{{password}}')",
        ] {
            assert!(prepared(&[statement]).unwrap_err().contains("{{password}}"), "{statement}");
        }
    }

    #[test]
    fn texts_are_cut_outside_of_quotes_and_comments_alone() {
        let table: [(&str, &[&str]); 11] = [
            ("a;b", &["a", "b"]),
            (" ; a ;; ", &["a"]),
            ("SELECT ';'; b", &["SELECT ';'", "b"]),
            ("SELECT 'it''s;'; b", &["SELECT 'it''s;'", "b"]),
            (r"SELECT E'\';'; b", &[r"SELECT E'\';'", "b"]),
            ("SELECT \"a;\"\"b;\"; c", &["SELECT \"a;\"\"b;\"", "c"]),
            ("DO $$ x; y $$; c", &["DO $$ x; y $$", "c"]),
            ("DO $a$ $b$ ; $$ ; $a$; c", &["DO $a$ $b$ ; $$ ; $a$", "c"]),
            ("/* a; /* b; */ c; */ d; -- e; f\n g", &["/* a; /* b; */ c; */ d", "-- e; f\n g"]),
            ("SELECT 'never ended; b", &["SELECT 'never ended; b"]),
            ("größe; \u{1f600};", &["größe", "\u{1f600}"]),
        ];
        for (text, expected) in table {
            let found: Vec<_> = cut(text).iter().map(|statement| statement.text).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}

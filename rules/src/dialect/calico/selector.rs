//! Calico's selector expressions: the whole grammar of policy-semantics §3.2, read in one pass.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use crate::kubernetes::tree::shorten;
use crate::label::{Expression, Key};

/// The longest selector that is read, in bytes. Calico sets no limit; objects of the API server end at about 1.5 MB.
pub const LENGTH_MAX: usize = 256 * 1024;

/// How deep parentheses may nest. What is read is then walked by recursion.
pub const DEPTH_MAX: usize = 100;

/// The longest label key, in bytes.
pub const KEY_LENGTH_MAX: usize = 512;

/// A selector as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `global()`: what has no namespace. Only the `namespaceSelector` of a rule may say so, and nothing beside it.
    Global,
    /// A condition on labels, `!!` and needless parentheses taken away. Its keys are those of the text; which labels
    /// they mean depends on where the selector stands.
    Labels(Expression),
}

impl Selector {
    /// Reads a selector; blank text selects everything.
    ///
    /// ```
    /// use flowaudit_rules::dialect::calico::selector::Selector;
    /// let selector = Selector::parse("app=='cart' && !has(debug)").unwrap();
    /// assert_eq!(selector.to_string(), "app == 'cart' && !has(debug)");
    /// assert_eq!(
    ///     Selector::parse("app = 'cart'").unwrap_err().to_string(),
    ///     "expected an operator after the key `app`, at character 5"
    /// );
    /// ```
    ///
    /// # Errors
    ///
    /// Where the text leaves the grammar, or is longer or nested deeper than anyone writes.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > LENGTH_MAX {
            return Err(SelectorError {
                at: 1,
                problem: Problem::TooLong(text.len()),
            });
        }
        let mut parser = Parser {
            text,
            rest: text,
            depth: 0,
        };
        parser.skip_blanks();
        let selector = if parser.rest.is_empty() {
            Self::Labels(Expression::default())
        } else if parser.take("global(") {
            parser.close("global(")?;
            match parser.rest.is_empty() {
                true => Self::Global,
                false => return Err(parser.error(Problem::GlobalBeside)),
            }
        } else {
            Self::Labels(parser.or()?)
        };
        if parser.rest.is_empty() {
            Ok(selector)
        } else if parser.rest.starts_with(')') {
            Err(parser.error(Problem::Unopened))
        } else {
            Err(parser.error(Problem::ExpectedConnective))
        }
    }
}

impl fmt::Display for Selector {
    /// In one spelling, which reads back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global()"),
            Self::Labels(expression) => Printed(expression).fmt(f),
        }
    }
}

/// An expression in Calico's words.
struct Printed<'e>(&'e Expression);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parenthesised =
            |f: &mut fmt::Formatter<'_>, inner: &Expression, is_list: bool| match is_list {
                true => write!(f, "({})", Printed(inner)),
                false => Printed(inner).fmt(f),
            };
        match self.0 {
            Expression::All(parts) if parts.is_empty() => f.write_str("all()"),
            Expression::Any(parts) if parts.is_empty() => f.write_str("!all()"),
            Expression::All(parts) => separated(f, " && ", parts, |f, part| {
                parenthesised(f, part, matches!(part, Expression::Any(_)))
            }),
            Expression::Any(parts) => separated(f, " || ", parts, |f, part| Printed(part).fmt(f)),
            Expression::Not(inner) => match inner.as_ref() {
                Expression::In(key, values) => match values.as_slice() {
                    [value] => write!(f, "{} != {}", Name(key), Quoted(value)),
                    values => write!(f, "{} not in {}", Name(key), Set(values)),
                },
                inner => {
                    f.write_str("!")?;
                    let is_list =
                        matches!(inner, Expression::All(p) | Expression::Any(p) if !p.is_empty());
                    parenthesised(f, inner, is_list)
                }
            },
            Expression::Has(key) => write!(f, "has({})", Name(key)),
            Expression::In(key, values) => match values.as_slice() {
                [value] => write!(f, "{} == {}", Name(key), Quoted(value)),
                values => write!(f, "{} in {}", Name(key), Set(values)),
            },
            Expression::Contains(key, text) => {
                write!(f, "{} contains {}", Name(key), Quoted(text))
            }
            Expression::StartsWith(key, text) => {
                write!(f, "{} starts with {}", Name(key), Quoted(text))
            }
            Expression::EndsWith(key, text) => {
                write!(f, "{} ends with {}", Name(key), Quoted(text))
            }
        }
    }
}

/// A key as it is written.
struct Name<'k>(&'k Key);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Label(key) | Key::NamespaceLabel(key) => key,
            Key::Namespace => super::NAMESPACE_KEY,
            Key::ServiceAccount => super::SERVICE_ACCOUNT_KEY,
            Key::Constant(_) => super::ORCHESTRATOR_KEY,
        })
    }
}

/// A value between the quotes that it does not contain. There are no escapes, so it never contains both.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('\'') { '"' } else { '\'' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a [String]);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        separated(f, ", ", self.0, |f, value| Quoted(value).fmt(f))?;
        f.write_str("}")
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write(f, item)?;
    }
    Ok(())
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}, at character {at}")]
pub struct SelectorError {
    /// The character at which reading stopped, counted from 1.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl SelectorError {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        let help = match &self.problem {
            Problem::ExpectedOperator(_) => {
                "operators are ==, !=, in, not in, contains, starts with and ends with; `has(key)` asks for a label alone"
            }
            Problem::ExpectedString => "values stand in quotes: 'cart' or \"cart\"",
            Problem::ExpectedConnective => {
                "expressions are joined by && and ||; only blanks and tabs may stand between the parts"
            }
            Problem::ExpectedExpression => {
                "write key == 'value', has(key), all(), or one of these in parentheses"
            }
            Problem::ExpectedKey => "a key is made of A-Z, a-z, 0-9, _, ., / and -",
            Problem::ExpectedSet | Problem::ExpectedCommaOrBrace => "a set is written {'a', 'b'}",
            Problem::Unterminated => {
                "close it with the quote that opened it; there are no escapes in between"
            }
            Problem::GlobalBeside => "write it alone, as the namespaceSelector of a rule",
            Problem::Unclosed(_) | Problem::Unopened => "count the parentheses",
            Problem::KeyTooLong | Problem::TooLong(_) | Problem::TooDeep => {
                "split it over several rules or policies"
            }
        };
        Some(help.to_owned())
    }
}

/// What is wrong at one place of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// More than [`LENGTH_MAX`] bytes.
    #[error("the selector is {0} bytes long, more than {LENGTH_MAX} are not read")]
    TooLong(usize),
    /// More than [`DEPTH_MAX`] parentheses within each other.
    #[error("more than {DEPTH_MAX} parentheses within each other are not read")]
    TooDeep,
    /// A key of more than [`KEY_LENGTH_MAX`] bytes.
    #[error("a key has at most {KEY_LENGTH_MAX} characters")]
    KeyTooLong,
    /// Neither a key nor a parenthesis nor a function.
    #[error("expected an expression")]
    ExpectedExpression,
    /// What follows a key is no operator.
    #[error("expected an operator after the key `{0}`")]
    ExpectedOperator(String),
    /// No key where `has(` wants one.
    #[error("expected a label key")]
    ExpectedKey,
    /// No text in quotes.
    #[error("expected a value in quotes")]
    ExpectedString,
    /// No `{`.
    #[error("expected a set in braces")]
    ExpectedSet,
    /// A set that does not go on.
    #[error("expected `,` or `}}` in a set")]
    ExpectedCommaOrBrace,
    /// A quote without its end.
    #[error("this quote is never closed")]
    Unterminated,
    /// A parenthesis without its end.
    #[error("expected the `)` that closes `{0}`")]
    Unclosed(&'static str),
    /// `global()` together with anything else.
    #[error("`global()` cannot be combined with anything")]
    GlobalBeside,
    /// A `)` too many.
    #[error("this `)` closes nothing")]
    Unopened,
    /// Something after the end of an expression.
    #[error("expected && or || or the end")]
    ExpectedConnective,
}

/// What separates; a line break does not.
const BLANKS: [char; 2] = [' ', '\t'];

struct Parser<'t> {
    text: &'t str,
    /// What is still to be read: a tail of `text`, mostly without blanks before it.
    rest: &'t str,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn error(&self, problem: Problem) -> SelectorError {
        self.error_at(self.rest, problem)
    }

    fn error_at(&self, rest: &str, problem: Problem) -> SelectorError {
        let read = self.text.len().saturating_sub(rest.len());
        let before = self.text.get(..read).unwrap_or_default();
        SelectorError {
            at: before.chars().count() + 1,
            problem,
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANKS);
    }

    /// Takes `token` and the blanks after it, if it stands here.
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                self.skip_blanks();
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Result<Expression, SelectorError> {
        let mut parts = vec![self.and()?];
        while self.take("||") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn and(&mut self) -> Result<Expression, SelectorError> {
        let mut parts = vec![self.unary()?];
        while self.take("&&") {
            parts.push(self.unary()?);
        }
        Ok(joined(parts, Expression::All))
    }

    fn unary(&mut self) -> Result<Expression, SelectorError> {
        let mut is_negated = false;
        while self.take("!") {
            is_negated = !is_negated;
        }
        let primary = self.primary()?;
        Ok(match is_negated {
            true => negated(primary),
            false => primary,
        })
    }

    fn primary(&mut self) -> Result<Expression, SelectorError> {
        if self.rest.starts_with('(') {
            if self.depth == DEPTH_MAX {
                return Err(self.error(Problem::TooDeep));
            }
            self.depth += 1;
            self.take("(");
            let inner = self.or()?;
            self.close("(")?;
            self.depth -= 1;
            return Ok(inner);
        }
        if self.take("all(") {
            self.close("all(")?;
            return Ok(Expression::default());
        }
        if self.rest.starts_with("global(") {
            return Err(self.error(Problem::GlobalBeside));
        }
        if self.take("has(") {
            let key = self
                .key()?
                .ok_or_else(|| self.error(Problem::ExpectedKey))?;
            self.close("has(")?;
            return Ok(Expression::Has(label(key)));
        }
        match self.key()? {
            Some(key) => self.operation(key),
            None => Err(self.error(Problem::ExpectedExpression)),
        }
    }

    fn close(&mut self, opened: &'static str) -> Result<(), SelectorError> {
        match self.take(")") {
            true => Ok(()),
            false => Err(self.error(Problem::Unclosed(opened))),
        }
    }

    fn key(&mut self) -> Result<Option<&'t str>, SelectorError> {
        let end = self
            .rest
            .find(|c: char| !is_of_key(c))
            .unwrap_or(self.rest.len());
        if end > KEY_LENGTH_MAX {
            return Err(self.error(Problem::KeyTooLong));
        }
        let (key, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_blanks();
        Ok(Some(key).filter(|key| !key.is_empty()))
    }

    /// What follows a key. Only here are the word operators operators: elsewhere they are keys.
    fn operation(&mut self, key: &str) -> Result<Expression, SelectorError> {
        let key_of = label(key);
        if self.take("==") {
            let value = self.value()?;
            Ok(Expression::In(key_of, vec![value]))
        } else if self.take("!=") {
            let value = self.value()?;
            Ok(negated(Expression::In(key_of, vec![value])))
        } else if self.take_words("contains", "") {
            Ok(Expression::Contains(key_of, self.value()?))
        } else if self.take_words("starts", "with") {
            Ok(Expression::StartsWith(key_of, self.value()?))
        } else if self.take_words("ends", "with") {
            Ok(Expression::EndsWith(key_of, self.value()?))
        } else if self.take_words("in", "") {
            Ok(Expression::In(key_of, self.set()?))
        } else if self.take_words("not", "in") {
            Ok(negated(Expression::In(key_of, self.set()?)))
        } else {
            let shown = shorten(key).into_owned();
            Err(self.error(Problem::ExpectedOperator(shown)))
        }
    }

    /// Takes an operator of one or two words, between which a gap may stand, if it ends at a character of no key.
    fn take_words(&mut self, first: &str, second: &str) -> bool {
        let Some(mut rest) = self.rest.strip_prefix(first) else {
            return false;
        };
        if !second.is_empty() {
            match rest.trim_start_matches(BLANKS).strip_prefix(second) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        if rest.starts_with(is_of_key) {
            return false;
        }
        self.rest = rest;
        self.skip_blanks();
        true
    }

    fn value(&mut self) -> Result<String, SelectorError> {
        match self.string()? {
            Some(value) => Ok(value.to_owned()),
            None => Err(self.error(Problem::ExpectedString)),
        }
    }

    fn string(&mut self) -> Result<Option<&'t str>, SelectorError> {
        let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return Ok(None);
        };
        let within = self.rest.get(1..).unwrap_or_default();
        let Some((value, rest)) = within.split_once(quote) else {
            return Err(self.error(Problem::Unterminated));
        };
        self.rest = rest;
        self.skip_blanks();
        Ok(Some(value))
    }

    /// The values of a set, each once and in order.
    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        if !self.take("{") {
            return Err(self.error(Problem::ExpectedSet));
        }
        let mut values = BTreeSet::new();
        // A comma may stand after the last value as well.
        while let Some(value) = self.string()? {
            values.insert(value.to_owned());
            if !self.take(",") {
                break;
            }
        }
        match self.take("}") {
            true => Ok(values.into_iter().collect()),
            false => Err(self.error(Problem::ExpectedCommaOrBrace)),
        }
    }
}

/// The characters of a label key.
fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

fn label(key: &str) -> Key {
    Key::Label(key.to_owned())
}

fn negated(expression: Expression) -> Expression {
    match expression {
        Expression::Not(inner) => *inner,
        // The one way to write nothing, so that it prints as it is read.
        Expression::Any(parts) if parts.is_empty() => Expression::default(),
        Expression::All(parts) if parts.is_empty() => Expression::Any(parts),
        other => Expression::Not(Box::new(other)),
    }
}

/// One list of many expressions, in which a list of the same kind is part of the list.
fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return only;
    }
    let is_all = matches!(join(Vec::new()), Expression::All(_));
    let mut joined = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Expression::All(inner) if is_all && !inner.is_empty() => joined.extend(inner),
            Expression::Any(inner) if !is_all && !inner.is_empty() => joined.extend(inner),
            part => joined.push(part),
        }
    }
    join(joined)
}

#[cfg(test)]
mod tests;

//! The grammar of policy-semantics §3.2, row by row, and what must hold for every text.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::cluster::Labels;
use crate::label::{Key, Labelled};

impl Labelled for Labels {
    fn value(&self, key: &Key) -> Option<&str> {
        match key {
            Key::Label(key) => self.get(key).map(String::as_str),
            _ => None,
        }
    }
}

/// The condition on labels that `text` is.
#[track_caller]
fn read(text: &str) -> Expression {
    match Selector::parse(text) {
        Ok(Selector::Labels(expression)) => expression,
        other => panic!("{text}: {other:?}"),
    }
}

/// `a=b, c=` as labels; empty for none.
fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

/// Selector, labels, whether it selects.
const ROWS: &[(&str, &str, bool)] = &[
    // Everything, and how it is written.
    ("", "", true),
    ("", "a=b", true),
    (" \t ", "", true),
    ("all()", "", true),
    ("all()", "a=b", true),
    ("all( )", "", true),
    ("all(\t )", "", true),
    ("  all()  ", "", true),
    ("!all()", "", false),
    ("!!all()", "", true),
    ("! ! !all()", "", false),
    ("(all())", "", true),
    ("((((all()))))", "", true),
    // A label that is there, and its value.
    ("has(a)", "a=b", true),
    ("has(a)", "a=", true),
    ("has(a)", "b=a", false),
    ("has( a )", "a=b", true),
    ("has(\ta\t)", "a=b", true),
    ("!has(a)", "", true),
    ("!has(a)", "a=", false),
    ("has(a.b/c-d_e)", "a.b/c-d_e=x", true),
    ("has(A)", "a=b", false),
    // ==
    ("a == 'b'", "a=b", true),
    ("a == \"b\"", "a=b", true),
    ("a=='b'", "a=b", true),
    ("a\t==\t'b'", "a=b", true),
    ("a == 'b'", "a=c", false),
    ("a == 'b'", "", false),
    ("a == 'b'", "b=b", false),
    ("a == 'b'", "a=B", false),
    ("A == 'b'", "a=b", false),
    ("a == ''", "a=", true),
    ("a == ''", "", false),
    ("a == ' b '", "a=b", false),
    ("a == 'b\\'", "a=b\\", true),
    ("a == \"it's\"", "a=it's", true),
    ("a == 'say \"x\"'", "a=say \"x\"", true),
    ("a == 'b*'", "a=bcd", false),
    ("a == 'a b'", "a=a b", true),
    ("a == 'ü'", "a=ü", true),
    ("a == '&& || ('", "a=&& || (", true),
    // !=: holds for what has no such label.
    ("a != 'b'", "a=b", false),
    ("a != 'b'", "a=c", true),
    ("a != 'b'", "", true),
    ("a!='b'", "a=", true),
    ("a != ''", "a=", false),
    ("a != ''", "", true),
    ("!a != 'b'", "a=b", true),
    ("!a != 'b'", "", false),
    // in, not in
    ("a in {'b'}", "a=b", true),
    ("a in {'b'}", "a=c", false),
    ("a in {'b'}", "", false),
    ("a in {'b', 'c'}", "a=c", true),
    ("a in {\"b\",'c'}", "a=c", true),
    ("a in{'b'}", "a=b", true),
    ("a in { 'b' , }", "a=b", true),
    ("a in {'b',}", "a=", false),
    ("a in {}", "a=b", false),
    ("a in { }", "", false),
    ("a in {''}", "a=", true),
    ("a not in {'b'}", "a=b", false),
    ("a not in {'b'}", "a=c", true),
    ("a not in {'b'}", "", true),
    ("a not in {'b', 'c'}", "a=c", false),
    ("a not in {}", "a=b", true),
    ("a notin {'b'}", "a=b", false),
    ("a notin{'b'}", "a=c", true),
    ("a not \t in {'b'}", "a=b", false),
    ("!a in {'b'}", "a=b", false),
    ("!a not in {'b'}", "", false),
    // contains, starts with, ends with: nothing without the label.
    ("a contains 'b'", "a=abc", true),
    ("a contains 'b'", "a=ac", false),
    ("a contains 'b'", "", false),
    ("a contains ''", "a=", true),
    ("a contains ''", "", false),
    ("a contains'b'", "a=b", true),
    ("!a contains 'b'", "", true),
    ("a starts with 'b'", "a=bc", true),
    ("a starts with 'b'", "a=ab", false),
    ("a starts with 'b'", "", false),
    ("a startswith 'b'", "a=bc", true),
    ("a startswith\"b\"", "a=b", true),
    ("a starts\twith 'b'", "a=bc", true),
    ("a ends with 'b'", "a=ab", true),
    ("a ends with 'b'", "a=bc", false),
    ("a ends with 'b'", "", false),
    ("a endswith 'b'", "a=ab", true),
    ("a ends   with ''", "a=x", true),
    // Keys that look like operators or functions.
    ("in in {'in'}", "in=in", true),
    ("in == 'x'", "in=x", true),
    ("not == 'x'", "not=x", true),
    ("not not in {'x'}", "not=x", false),
    ("notin notin {'x'}", "notin=y", true),
    ("contains contains 'x'", "contains=axb", true),
    ("contains == 'x'", "contains=x", true),
    ("starts starts with 'x'", "starts=xy", true),
    ("startswith == 'x'", "startswith=x", true),
    ("ends ends with 'x'", "ends=yx", true),
    ("with == 'x'", "with=x", true),
    ("has == 'x'", "has=x", true),
    ("all == 'x'", "all=x", true),
    ("global == 'x'", "global=x", true),
    ("has(has)", "has=", true),
    ("has(in)", "in=", true),
    ("has(all)", "all=", true),
    ("install == 'x'", "install=x", true),
    ("inside == 'x'", "inside=x", true),
    ("9 == 'x'", "9=x", true),
    ("-./_ == 'x'", "-./_=x", true),
    // What binds how.
    ("has(a) && has(b)", "a=", false),
    ("has(a) && has(b)", "a=,b=", true),
    ("has(a)&&has(b)&&has(c)", "a=,b=", false),
    ("has(a) || has(b)", "b=", true),
    ("has(a)||has(b)||has(c)", "c=", true),
    ("has(a) || has(b)", "", false),
    ("has(a) || has(b) && has(c)", "a=", true),
    ("has(a) || has(b) && has(c)", "b=", false),
    ("has(a) && has(b) || has(c)", "c=", true),
    ("has(a) && has(b) || has(c)", "a=", false),
    ("(has(a) || has(b)) && has(c)", "a=", false),
    ("(has(a) || has(b)) && has(c)", "b=,c=", true),
    ("has(a) && (has(b) || has(c))", "a=,c=", true),
    ("!has(a) && has(b)", "b=", true),
    ("!has(a) && has(b)", "", false),
    ("!(has(a) && has(b))", "b=", true),
    ("!has(a) || has(b)", "a=,b=", true),
    ("!(has(a) || has(b))", "b=", false),
    ("!(!has(a))", "a=", true),
    ("!!has(a)", "", false),
    ("a == 'b' && c != 'd' || e in {'f'}", "e=f", true),
    ("a == 'b' && c != 'd' || e in {'f'}", "a=b,c=d", false),
    ("a == 'b'&&!has(c)", "a=b", true),
    ("(a == 'b')&&(c == 'd')", "a=b,c=d", true),
];

#[test]
fn what_is_selected() {
    assert!(ROWS.len() > 100);
    for (text, object, expected) in ROWS {
        assert_eq!(
            read(text).holds(&labels(object)),
            *expected,
            "{text} on {object}"
        );
    }
}

/// Selector, and what is said of it.
const REFUSED: &[(&str, &str)] = &[
    (
        "a",
        "expected an operator after the key `a`, at character 2",
    ),
    (
        "a b",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a = 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    ("a === 'b'", "expected a value in quotes, at character 5"),
    ("a == b", "expected a value in quotes, at character 6"),
    ("a == 1", "expected a value in quotes, at character 6"),
    ("a == ", "expected a value in quotes, at character 6"),
    ("a == 'b", "this quote is never closed, at character 6"),
    ("a == 'b\"", "this quote is never closed, at character 6"),
    (
        "a == 'b' c",
        "expected && or || or the end, at character 10",
    ),
    (
        "a == 'b''c'",
        "expected && or || or the end, at character 9",
    ),
    (
        "a ! = 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    ("'a' == 'b'", "expected an expression, at character 1"),
    (
        "a <> 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    ("a in 'b'", "expected a set in braces, at character 6"),
    ("a in ('b')", "expected a set in braces, at character 6"),
    ("a in {'b'", "expected `,` or `}` in a set, at character 10"),
    (
        "a in {'b' 'c'}",
        "expected `,` or `}` in a set, at character 11",
    ),
    ("a in {,}", "expected `,` or `}` in a set, at character 7"),
    (
        "a in {'b',,}",
        "expected `,` or `}` in a set, at character 11",
    ),
    ("a in {b}", "expected `,` or `}` in a set, at character 7"),
    (
        "a not {'b'}",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a not inside {'b'}",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a inx {'b'}",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a containsx 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a starts 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a starts withb 'b'",
        "expected an operator after the key `a`, at character 3",
    ),
    (
        "a contains {'b'}",
        "expected a value in quotes, at character 12",
    ),
    (
        "ain {'b'}",
        "expected an operator after the key `ain`, at character 5",
    ),
    (
        "a && has(b)",
        "expected an operator after the key `a`, at character 3",
    ),
    ("has(a) &", "expected && or || or the end, at character 8"),
    (
        "has(a) & has(b)",
        "expected && or || or the end, at character 8",
    ),
    (
        "has(a) | has(b)",
        "expected && or || or the end, at character 8",
    ),
    ("has(a) &&", "expected an expression, at character 10"),
    ("&& has(a)", "expected an expression, at character 1"),
    (
        "has(a) && || has(b)",
        "expected an expression, at character 11",
    ),
    (
        "has(a), has(b)",
        "expected && or || or the end, at character 7",
    ),
    ("!", "expected an expression, at character 2"),
    ("()", "expected an expression, at character 2"),
    (
        "(has(a)",
        "expected the `)` that closes `(`, at character 8",
    ),
    ("has(a))", "this `)` closes nothing, at character 7"),
    (
        "all",
        "expected an operator after the key `all`, at character 4",
    ),
    (
        "all ()",
        "expected an operator after the key `all`, at character 5",
    ),
    (
        "all(a)",
        "expected the `)` that closes `all(`, at character 5",
    ),
    (
        "all(",
        "expected the `)` that closes `all(`, at character 5",
    ),
    ("has()", "expected a label key, at character 5"),
    (
        "has(a b)",
        "expected the `)` that closes `has(`, at character 7",
    ),
    ("has('a')", "expected a label key, at character 5"),
    (
        "has (a)",
        "expected an operator after the key `has`, at character 5",
    ),
    (
        "global(x)",
        "expected the `)` that closes `global(`, at character 8",
    ),
    ("a == 'b'\n", "expected && or || or the end, at character 9"),
    ("\na == 'b'", "expected an expression, at character 1"),
    (
        "a\n== 'b'",
        "expected an operator after the key `a`, at character 2",
    ),
    (
        "a:b == 'c'",
        "expected an operator after the key `a`, at character 2",
    ),
    ("ü == 'b'", "expected an expression, at character 1"),
    (
        "a == 'ü' ü",
        "expected && or || or the end, at character 10",
    ),
];

#[test]
fn what_is_refused_and_where() {
    for (text, expected) in REFUSED {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!(error.to_string(), *expected, "{text}");
        assert!(error.help().is_some());
    }
}

#[test]
fn what_is_bounded() {
    let of_key = |length| format!("has({})", "k".repeat(length));
    assert!(Selector::parse(&of_key(KEY_LENGTH_MAX)).is_ok());
    let error = Selector::parse(&of_key(KEY_LENGTH_MAX + 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a key has at most 512 characters, at character 5"
    );

    let nested = |depth| format!("{}all(){}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(
        Selector::parse(&nested(DEPTH_MAX)),
        Ok(Selector::Labels(Expression::default()))
    );
    let error = Selector::parse(&nested(DEPTH_MAX + 1)).unwrap_err();
    assert_eq!((error.problem, error.at), (Problem::TooDeep, DEPTH_MAX + 1));
    // What lies beside each other is not nested, and neither are exclamation marks.
    let beside = vec!["(has(a))"; 5000].join("&&");
    assert!(Selector::parse(&beside).is_ok());
    let marks = format!("{}has(a)", "!".repeat(99_999));
    assert_eq!(Selector::parse(&marks).unwrap().to_string(), "!has(a)");

    let length = LENGTH_MAX;
    assert!(Selector::parse(&" ".repeat(length)).is_ok());
    for text in ["(", "!", " ", "a", "has(a)&&", "a in {'b',", "'"] {
        let hostile = text.repeat(10_000_000 / text.len());
        let error = Selector::parse(&hostile).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLong(_)), "{text}");
    }
}

#[test]
fn one_spelling() {
    for (text, printed) in [
        ("", "all()"),
        ("a=='b'", "a == 'b'"),
        ("a == \"it's\"", "a == \"it's\""),
        ("a in {'b'}", "a == 'b'"),
        ("a notin {'c','b','c',}", "a not in {'b', 'c'}"),
        ("a startswith 'b'", "a starts with 'b'"),
        (
            "((has(a) && has(b)) && has(c))",
            "has(a) && has(b) && has(c)",
        ),
        (
            "has(a) && (has(b) || has(c))",
            "has(a) && (has(b) || has(c))",
        ),
        ("(has(a) && has(b)) || has(c)", "has(a) && has(b) || has(c)"),
        ("!(a == 'b')", "a != 'b'"),
        ("!(has(a) && has(b))", "!(has(a) && has(b))"),
        ("!(!(has(a)))", "has(a)"),
        ("!all()", "!all()"),
        ("!!all() && has(a)", "all() && has(a)"),
        ("!(all() && has(a))", "!(all() && has(a))"),
        ("!a in {'b', 'c'}", "a not in {'b', 'c'}"),
        ("!a != 'b'", "a == 'b'"),
    ] {
        assert_eq!(Selector::parse(text).unwrap().to_string(), printed);
    }
}

#[test]
fn global_is_not_a_label() {
    for text in ["global()", " global( \t) "] {
        assert_eq!(Selector::parse(text), Ok(Selector::Global));
    }
    assert_eq!(Selector::Global.to_string(), "global()");
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "a", "in", "not", "notin", "has", "all", "contains", "starts", "with", "global"
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9_./-]{1,8}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c'&| (){},!]{0,4}", "[a-c\"ü\t\n]{0,4}"]
}

fn expression() -> impl Strategy<Value = Expression> {
    let key = || key().prop_map(Key::Label);
    let leaf = prop_oneof![
        Just(Expression::default()),
        key().prop_map(Expression::Has),
        (key(), btree_set(value(), 0..3))
            .prop_map(|(key, values)| Expression::In(key, values.into_iter().collect())),
        (key(), value()).prop_map(|(key, value)| Expression::Contains(key, value)),
        (key(), value()).prop_map(|(key, value)| Expression::StartsWith(key, value)),
        (key(), value()).prop_map(|(key, value)| Expression::EndsWith(key, value)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(negated),
            vec(inner.clone(), 2..4).prop_map(|parts| joined(parts, Expression::All)),
            vec(inner, 2..4).prop_map(|parts| joined(parts, Expression::Any)),
        ]
    })
}

proptest! {
    #[test]
    fn printed_reads_back(expression in expression()) {
        let selector = Selector::Labels(expression);
        prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn what_is_read_prints_and_reads_back(text in "[a!&|(){},='\" \ninhsotlg]{0,24}") {
        if let Ok(selector) = Selector::parse(&text) {
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
        }
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_character_of_it(text in any::<String>()) {
        if let Err(error) = Selector::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.at));
        }
    }

    #[test]
    fn a_mark_turns_the_answer_round(expression in expression(), object in vec((key(), value()), 0..4)) {
        let object: Labels = object.into_iter().collect();
        let turned = read(&format!("!({})", Selector::Labels(expression.clone())));
        prop_assert_eq!(turned.holds(&object), !expression.holds(&object));
    }
}

#[test]
fn help_speaks_of_what_was_found() {
    let help = |text: &str| Selector::parse(text).unwrap_err().help().unwrap();
    assert!(help("app = 'cart'").starts_with("operators are =="));
    assert!(help("app == cart").starts_with("values stand in quotes"));
    assert!(help("(app == 'cart'").starts_with("count the parentheses"));
}

/// `all()` and its opposite have one form, however they are written.
#[test]
fn nothing_and_everything_have_one_form() {
    let everything = Selector::parse("all()").unwrap();
    let nothing = Selector::parse("!all()").unwrap();
    assert_eq!(nothing, Selector::Labels(Expression::Any(Vec::new())));
    for text in ["", "!!all()", "!(!all())", "(!(!(all())))"] {
        assert_eq!(Selector::parse(text).unwrap(), everything, "{text}");
    }
    assert_eq!(Selector::parse("!(!(!all()))").unwrap(), nothing);
}

//! Reading what others wrote: forms of input, broken input, and printing back.

mod addresses;
mod kinds;

use super::*;

fn titles(manifest: &Manifest) -> Vec<String> {
    manifest.objects.iter().map(Object::title).collect()
}

fn issues(manifest: &Manifest) -> Vec<String> {
    manifest.issues.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(text: &str, expected_titles: &[&str], expected_issues: &[&str]) -> Manifest {
    let manifest = read("f.yaml", text);
    assert_eq!(titles(&manifest), expected_titles, "{:#?}", manifest.issues);
    assert_eq!(issues(&manifest), expected_issues);
    manifest
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n";

#[test]
fn nothing_at_all() {
    for text in [
        "",
        "\n",
        "---",
        "---\n",
        "---\n---\n...\n",
        "# only words\n",
        "\u{feff}",
        "null",
        "--- ~\n",
        "\r\n",
    ] {
        check(text, &[], &[]);
    }
}

#[test]
fn several_documents_in_every_spelling() {
    let text =
        format!("\u{feff}# head\n%YAML 1.2\n---\n{POD}--- # next\n{POD}...\n---\n\n---\n{POD}");
    let manifest = check(&text, &["Pod shop/web"; 3], &[]);
    let lines: Vec<u32> = manifest
        .objects
        .iter()
        .map(|object| object.origin.line)
        .collect();
    assert_eq!(lines, [4, 8, 15]);
    check(&text.replace('\n', "\r\n"), &["Pod shop/web"; 3], &[]);
}

#[test]
fn a_document_may_begin_on_its_marker_line() {
    check(
        "--- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
        &["Pod default/a"],
        &[],
    );
    check(
        "--- {\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}",
        &["Pod default/a"],
        &[],
    );
}

#[test]
fn json_alone_in_lines_and_between_markers() {
    let one = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;
    check(one, &["Pod default/a"], &[]);
    let manifest = check(&format!("{one}\n{one}{one}\n"), &["Pod default/a"; 3], &[]);
    let lines: Vec<u32> = manifest
        .objects
        .iter()
        .map(|object| object.origin.line)
        .collect();
    assert_eq!(lines, [1, 2, 2]);
    check(
        &format!("---\n{one}\n---\n{POD}"),
        &["Pod default/a", "Pod shop/web"],
        &[],
    );
    check(&format!("[{one},{one}]"), &["Pod default/a"; 2], &[]);
}

#[test]
fn flow_style_yaml_is_not_json() {
    check(
        "{apiVersion: v1, kind: Pod, metadata: {name: a}}",
        &["Pod default/a"],
        &[],
    );
}

#[test]
fn lists_typed_lists_and_lists_in_lists() {
    let list = "
kind: List
apiVersion: v1
items:
- kind: PodList
  apiVersion: v1
  items:
  - metadata: {name: a}
  - metadata: {name: b}
- kind: List
  apiVersion: v1
  items:
  - kind: Node
    apiVersion: v1
    metadata: {name: n}
  - null
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicyList
    items:
    - metadata: {name: p, namespace: shop}
      spec: {}
";
    check(
        list,
        &[
            "Pod default/a",
            "Pod default/b",
            "Node n",
            "NetworkPolicy shop/p",
        ],
        &[],
    );
    check(
        "kind: PodList\nitems:\n- metadata: {name: a}\n",
        &["Pod default/a"],
        &[],
    );
    check(
        "items:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n",
        &["Pod default/a"],
        &[],
    );
    check("kind: List\napiVersion: v1\nitems:\n", &[], &[]);
    check("kind: PodList\napiVersion: v1\nitems: null\n", &[], &[]);
    let issue = "f.yaml:2: error: the `items` of this list are no list";
    check(
        "\nkind: PodList\napiVersion: v1\nitems: {}\n",
        &[],
        &[issue],
    );
}

#[test]
fn which_objects_came_out_of_one_list() {
    let pods = |names: &str| format!("kind: PodList\napiVersion: v1\nitems: [{names}]\n");
    let (a, b) = ("{metadata: {name: a}}", "{metadata: {name: b}}");
    let nested = format!(
        "kind: List\napiVersion: v1\nitems:\n- {{kind: PodList, items: [{a}]}}\n- {{kind: PodList, items: [{b}]}}\n"
    );
    let text = format!(
        "{}---\n{POD}---\n{}---\n{nested}",
        pods(""),
        pods(&format!("{a}, {b}"))
    );
    assert_eq!(read("f.yaml", &text).lists, [0..0, 1..3, 3..5]);
}

#[test]
fn a_duplicate_key_costs_its_document_only() {
    let text =
        format!("{POD}---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n---\n{POD}");
    check(
        &text,
        &["Pod shop/web"; 2],
        &["f.yaml:9: error: the key `name` is there twice"],
    );
    let json = "{\"kind\":\"Pod\",\n\"kind\":\"Node\"}";
    check(
        json,
        &[],
        &["f.yaml:2: error: the key `kind` is there twice"],
    );
    let many: String = (0..40).map(|n| format!("  k{}: v\n", n % 39)).collect();
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n{many}");
    check(
        &text,
        &[],
        &["f.yaml:45: error: the key `k0` is there twice"],
    );
}

#[test]
fn a_broken_document_costs_its_document_only() {
    let text = format!("{POD}---\na: [1\n---\n{POD}");
    let manifest = read("f.yaml", &text);
    assert_eq!(titles(&manifest), ["Pod shop/web"; 2]);
    assert_eq!(manifest.issues.len(), 1);
    assert!(
        matches!(manifest.issues[0].line, Some(5 | 6)),
        "{:?}",
        manifest.issues
    );
    let tabs = read("f.yaml", "a:\n\t- b\n");
    assert_eq!(tabs.issues.len(), 1, "{tabs:?}");
}

#[test]
fn what_is_no_object() {
    check(
        "just words",
        &[],
        &["f.yaml:1: error: not a Kubernetes object but the text `just words`"],
    );
    check(
        "- 1\n",
        &[],
        &["f.yaml:1: error: not a Kubernetes object but the number 1"],
    );
    check(
        "\nreplicas: 3\n",
        &[],
        &["f.yaml:2: error: not a Kubernetes object: it has no `kind`"],
    );
    let issue = "f.yaml:1: error: NetworkPolicy p: apiVersion: is missing";
    check("kind: NetworkPolicy\nmetadata: {name: p}\n", &[], &[issue]);
}

#[test]
fn a_json_text_that_was_cut_keeps_what_came_before() {
    let one = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#;
    let cut = format!("{one}\n{}", &one[..30]);
    check(
        &cut,
        &["Pod default/a"],
        &["f.yaml:2: error: the text ends in the middle of a value"],
    );
}

/// kubectl sorts its keys: what is left of a list that was cut off is YAML as well.
#[test]
fn a_yaml_list_that_was_cut_is_not_taken_for_a_shorter_one() {
    let item = "- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n";
    let cut = format!("apiVersion: v1\nitems:\n{item}");
    let message = "f.yaml:1: error: a list without its `kind`, which stands after the items: it was cut short";
    check(&cut, &[], &[message]);
    check(&format!("{cut}kind: List\n"), &["Pod default/a"], &[]);
    check(&format!("items:\n{item}"), &["Pod default/a"], &[]);
}

#[test]
fn an_api_is_kept_as_it_was_written_or_refused() {
    let group = format!("{0}.{0}", "g".repeat(60));
    let manifest = check(
        &format!("apiVersion: {group}/v1alpha1\nkind: Widget\nmetadata: {{name: a}}\n"),
        &["Widget a"],
        &[],
    );
    let printed = manifest.objects[0].to_json();
    assert_eq!(read("f.yaml", &printed).objects, manifest.objects);
    for (version, kind) in [("/v1", "Pod"), ("a/b/c", "Pod"), ("v1", "Po d")] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n");
        let issue = format!(
            "f.yaml:1: error: {kind} a: apiVersion: `{version}` with kind `{kind}` names no API"
        );
        check(&text, &[], &[&issue]);
    }
}

#[test]
fn names_the_api_server_refuses() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: Shop\n  name: Web\n";
    check(
        text,
        &[],
        &[
            "f.yaml:5: error: Pod Shop/Web: metadata.name: `Web` is not a name Kubernetes accepts",
            "f.yaml:4: error: Pod Shop/Web: metadata.namespace: `Shop` is not a name Kubernetes accepts",
        ],
    );
    check(
        "apiVersion: v1\nkind: Pod\n",
        &[],
        &["f.yaml:1: error: Pod: metadata.name: is missing"],
    );
}

#[test]
fn labels_that_are_no_text() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    on: true\n    two: 2\n    x: yes\n    ok: \"true\"\n    ok2: 'yes'\n    ok3: n\n";
    let manifest = check(
        text,
        &[],
        &[
            "f.yaml:6: error: Pod a: metadata.labels.on: must be a text, is the boolean true",
            "f.yaml:7: error: Pod a: metadata.labels.two: must be a text, is the number 2",
            "f.yaml:8: error: Pod a: metadata.labels.x: must be a text, is the boolean true",
        ],
    );
    assert_eq!(
        manifest.issues[1].help.as_deref(),
        Some("write it in quotes: \"2\"")
    );
}

#[test]
fn null_is_absent() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n  creationTimestamp: null\nspec:\nstatus:\n  podIPs: null\n";
    let manifest = check(text, &["Pod default/a"], &[]);
    assert_eq!(manifest.objects[0].created, None);
}

#[test]
fn one_bad_object_of_a_list_costs_itself_only() {
    let text = "kind: PodList\napiVersion: v1\nitems:\n- metadata: {name: a}\n- metadata: {name: b, labels: {k: 1}}\n- metadata: {name: c}\n";
    let issue = "f.yaml:5: error: Pod b: metadata.labels.k: must be a text, is the number 1";
    check(text, &["Pod default/a", "Pod default/c"], &[issue]);
}

#[test]
fn a_watch_with_everything_in_it() {
    let text = r#"{"type":"ADDED","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}}
{"type":"MODIFIED","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"k":"v"}}}}
{"type":"BOOKMARK","object":{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"9"}}}
{"type":"DELETED","object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}}
{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}
{"type":"ADDED","obj"#;
    let watch = read_watch("w", text);
    let events: Vec<_> = watch
        .events
        .iter()
        .map(|event| (event.change, event.object.title()))
        .collect();
    let pod = || "Pod default/a".to_owned();
    assert_eq!(
        events,
        [
            (Change::Added, pod()),
            (Change::Modified, pod()),
            (Change::Deleted, pod())
        ]
    );
    let issues: Vec<String> = watch.issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        issues,
        [
            "w:5: warning: the watch ended: too old resource version",
            "w:6: warning: the text ends in the middle of a value",
        ]
    );
    assert_eq!(watch.events[1].object.origin.line, 2);
}

#[test]
fn a_watch_as_yaml_documents_and_things_that_are_no_events() {
    let watch = read_watch(
        "w",
        &format!(
            "type: ADDED\nobject:\n  {}\n---\n{POD}",
            POD.trim().replace('\n', "\n  ")
        ),
    );
    assert_eq!(watch.events.len(), 1);
    assert_eq!(watch.issues[0].to_string(), "w:7: error: not a watch event");
    let watch = read_watch("w", r#"{"type":"ADDED"} {"type":"ADDED","object":7}"#);
    assert_eq!(watch.events, []);
    assert_eq!(watch.issues.len(), 2);
}

#[test]
fn hostile_input_ends() {
    let deep = "[".repeat(100_000);
    assert_eq!(read("f", &deep).issues.len(), 1);
    let deep = format!("a: {}", "[".repeat(10_000));
    assert_eq!(read("f", &deep).issues.len(), 1);
    let deep = format!("{}{}", "{\"items\":[".repeat(5_000), "]}".repeat(5_000));
    assert_eq!(read("f", &deep).issues.len(), 1);
    let deep: String = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    assert_eq!(read("f", &deep).issues.len(), 1);

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let manifest = read("f", &format!("spec:\n  {}", bomb.replace('\n', "\n  ")));
    assert_eq!(manifest.issues.len(), 1);
    assert!(
        manifest.issues[0].message.contains("aliases"),
        "{:?}",
        manifest.issues
    );

    let big = "x".repeat(10_000_000);
    let manifest = read(
        "f",
        &format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, labels: {{k: {big}}}}}\n"),
    );
    assert_eq!(manifest.objects, []);
    assert!(manifest.issues[0].message.len() < 400);
    let manifest = read(
        "f",
        &format!("apiVersion: v1\nkind: {big}\nmetadata: {{name: {big}, labels: {{{big}: a}}}}\n"),
    );
    assert!(
        manifest
            .issues
            .iter()
            .all(|issue| issue.to_string().len() < 1_000)
    );
}

#[test]
fn an_ordinary_anchor_works() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: &l {app: web}\nspec: {copy: *l}\n";
    check(text, &["Pod default/a"], &[]);
    let text =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {<<: {app: web}, tier: b}}\n";
    let manifest = check(text, &["Pod default/a"], &[]);
    assert_eq!(manifest.objects[0].labels.len(), 2);
}

#[test]
fn many_documents_and_long_comments_are_no_reason_to_refuse() {
    let text = "---\n".to_owned() + &"# words\n".repeat(200) + &format!("{POD}---\n").repeat(3_000);
    assert_eq!(read("f", &text).objects.len(), 3_000);
    let pods: String = (0..30_000)
        .map(|n| format!("- metadata: {{name: p{n}, labels: {{a: b, c: d}}}}\n"))
        .collect();
    let manifest = read(
        "f",
        &format!("kind: PodList\napiVersion: v1\nitems:\n{pods}"),
    );
    assert_eq!((manifest.objects.len(), manifest.issues.len()), (30_000, 0));
}

#[test]
fn a_watch_in_yaml_that_was_cut_keeps_the_events_before() {
    let event = |name: &str| {
        format!(
            "object:\n  apiVersion: v1\n  kind: Pod\n  metadata:\n    name: {name}\n    labels: {{a: \"b\"}}\ntype: MODIFIED\n"
        )
    };
    let whole = format!("{}---\n{}", event("a"), event("b"));
    let first = event("a").len() + "---\n".len();
    for end in first..=whole.len() {
        let watch = read_watch("w", &whole[..end]);
        let names: Vec<&str> = watch
            .events
            .iter()
            .map(|event| &*event.object.name)
            .collect();
        assert!(
            names == ["a"] || names == ["a", "b"] && end > whole.len() - 2,
            "{end}: {names:?}"
        );
        let severities: Vec<Severity> = watch.issues.iter().map(|issue| issue.severity).collect();
        assert!(
            severities
                .iter()
                .all(|severity| *severity == Severity::Warning),
            "{end}: {:?}",
            watch.issues
        );
    }
    let between = format!("{}---\nobject: {{}}\n---\n{}", event("a"), event("b"));
    let watch = read_watch("w", &between);
    assert_eq!(
        (watch.events.len(), watch.issues[0].severity),
        (2, Severity::Error)
    );
}

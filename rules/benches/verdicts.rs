//! Verdicts over a large cluster: compile time, memory, probes per second, and the plain evaluator on the same probes.
//!
//! `cargo bench -p flowaudit-rules` asks the cluster of 1,000 namespaces, 10,000 pods and 2,000 policies and changes it;
//! then it grows policies and classes apart, to show what compiling costs by each. Answers of both evaluators are
//! compared on the way.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints and takes the time"
)]

use std::fmt::Write;
use std::time::Duration;

use flowaudit_rules::bulk::Bulk;
use flowaudit_rules::cluster::{Cluster, Holder, Namespace, Protocol};
use flowaudit_rules::evaluate::compiled::{Compiled, Endpoint};
use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
use flowaudit_rules::kubernetes::read;
use flowaudit_rules::label::LabelMatch;
use flowaudit_rules::policy::{Policy, Subject};
use flowaudit_rules::policy_set::PolicySet;
use flowaudit_rules::verdict::{Judgement, Outcome};

/// A cluster: what is in it, each of these once per namespace.
struct Size {
    namespaces: usize,
    pods: usize,
    policies: usize,
}

fn main() {
    let size = Size {
        namespaces: 1_000,
        pods: 10,
        policies: 2,
    };
    let (cluster, policies) = world(&size);
    for engine in [Engine::Felix, Engine::Cilium, Engine::Unknown] {
        probes(&cluster, &policies, engine);
    }
    changes(&cluster, &policies);
    println!("peak memory of the process: {}", peak_memory());
    println!("\ncompiling, by policies and pods");
    println!("policies  pods    classes  ms    µs per 1,000 policies × classes");
    for (namespaces, pods, policies) in [
        (250, 10, 2),
        (500, 10, 2),
        (1_000, 10, 2),
        (2_000, 10, 2),
        (1_000, 10, 1),
        (1_000, 10, 4),
        (1_000, 10, 8),
        (1_000, 20, 2),
        (1_000, 40, 2),
    ] {
        let size = Size {
            namespaces,
            pods,
            policies,
        };
        let (cluster, policies) = world(&size);
        let (compiled, took) = compile(&cluster, &policies, Engine::Felix);
        let product = policies.len() * compiled.class_count();
        println!(
            "{:<9} {:<7} {:<8} {:<5.0} {:.2}",
            policies.len(),
            cluster.pods().len(),
            compiled.class_count(),
            took.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e9 / product as f64
        );
    }
}

/// The best of three.
fn compile<'a>(
    cluster: &'a Cluster,
    policies: &'a PolicySet,
    engine: Engine,
) -> (Compiled<'a>, Duration) {
    let mut best = Duration::MAX;
    for _ in 0..2 {
        let begin = cpu_time();
        drop(Compiled::new(policies, cluster, engine));
        best = best.min(cpu_time() - begin);
    }
    let begin = cpu_time();
    let compiled = Compiled::new(policies, cluster, engine);
    (compiled, best.min(cpu_time() - begin))
}

fn probes(cluster: &Cluster, policies: &PolicySet, engine: Engine) {
    const PROBES: usize = 2_000_000;
    const PLAIN: usize = 20_000;
    let (compiled, compiling) = compile(cluster, policies, engine);
    let ends: Vec<Endpoint<'_>> = cluster
        .pods()
        .iter()
        .map(|pod| compiled.endpoint(&Party::pod(pod)))
        .collect();
    let outside = compiled.endpoint(&Party::external("203.0.113.9".parse().unwrap()));
    let mut random = 1_u64;
    let mut draw = |below: usize| {
        // Knuth's MMIX constants: enough to scatter probes.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let ports = [80_u16, 443, 8080, 53, 5432];
    let questions: Vec<(usize, usize, u16)> = (0..PROBES)
        .map(|_| {
            let client = draw(ends.len());
            // Half the probes stay in their namespace, as traffic does; one in ten leaves the cluster.
            let server = match draw(10) {
                0 => usize::MAX,
                1..5 => draw(ends.len()),
                _ => client - client % 10 + draw(10),
            };
            (client, server, ports[draw(ports.len())])
        })
        .collect();
    let begin = cpu_time();
    let mut outcomes = [0_usize; 3];
    for &(client, server, port) in &questions {
        let server = ends.get(server).unwrap_or(&outside);
        let judgement = compiled.judge(&ends[client], server, port, Protocol::Tcp);
        outcomes[judgement.outcome as usize] += 1;
    }
    let fast = cpu_time() - begin;

    let party = |end: usize| match cluster.pods().get(end) {
        Some(pod) => Party::pod(pod),
        None => Party::external("203.0.113.9".parse().unwrap()),
    };
    let connection = |&(client, server, port): &(usize, usize, u16)| Connection {
        client: party(client),
        server: party(server),
        port,
        protocol: Protocol::Tcp,
    };
    let begin = cpu_time();
    let plain: Vec<_> = questions
        .iter()
        .take(PLAIN)
        .map(|question| evaluate(policies, cluster, engine, &connection(question)))
        .collect();
    let slow = cpu_time() - begin;
    for (question, verdict) in questions.iter().zip(&plain) {
        assert_eq!(
            compiled.evaluate(&connection(question)),
            Judgement::from(verdict)
        );
    }
    let rate = |number: usize, took: Duration| number as f64 / took.as_secs_f64();
    println!(
        "engine {engine}: {} pods, {} policies",
        cluster.pods().len(),
        policies.len()
    );
    println!(
        "  compiled in {:.0} ms, {} classes",
        compiling.as_secs_f64() * 1e3,
        compiled.class_count()
    );
    println!(
        "  compiled  {:>9.0} probes/s  allowed {} denied {} unspecified {}",
        rate(PROBES, fast),
        outcomes[Outcome::Allowed as usize],
        outcomes[Outcome::Denied as usize],
        outcomes[Outcome::Unspecified as usize]
    );
    println!(
        "  plain     {:>9.0} probes/s  with reasons; compiled is {:.0}x",
        rate(PLAIN, slow),
        rate(PROBES, fast) / rate(PLAIN, slow)
    );

    // The same questions as lines of text, answered with reasons.
    let lines: Vec<String> = questions
        .iter()
        .map(|question| {
            let Connection {
                client,
                server,
                port,
                ..
            } = connection(question);
            let name = |party: Party<'_>| match (party.holder, party.address) {
                (Holder::Pod(pod), _) => pod.key(),
                (_, address) => address.unwrap().to_string(),
            };
            format!(
                r#"{{"src":"{}","dst":"{}","port":{port}}}"#,
                name(client),
                name(server)
            )
        })
        .collect();
    let bulk = Bulk::new(policies, cluster, engine);
    let mut session = bulk.session();
    let mut answers = String::new();
    let begin = cpu_time();
    for line in &lines {
        if answers.len() > 1 << 20 {
            answers.clear();
        }
        session.answer(line, &mut answers).unwrap();
    }
    let written = cpu_time() - begin;
    println!(
        "  lines     {:>9.0} probes/s  read, answered with reasons and written",
        rate(PROBES, written)
    );
    for line in lines.iter().take(PLAIN) {
        let (mut quick, mut plain) = (String::new(), String::new());
        session.answer(line, &mut quick).unwrap();
        bulk.answer(line, &mut plain).unwrap();
        assert_eq!(quick, plain);
    }
}

/// What one change costs, and that the changed world answers as a new one.
fn changes(cluster: &Cluster, policies: &PolicySet) {
    const TIMES: usize = 2_000;
    let engine = Engine::Felix;
    let mut compiled = Compiled::owning(policies.clone(), cluster.clone(), engine);
    let pods = cluster.pods();
    let pod = |n: usize| pods[n * 7 % pods.len()].clone();
    let all: Vec<&Policy> = policies.iter().collect();
    let policy = |n: usize| all[n * 13 % all.len()].clone();
    let mut change = |what: &str, change: &dyn Fn(&mut Compiled<'_>, usize)| {
        let begin = cpu_time();
        for n in 0..TIMES {
            change(&mut compiled, n);
        }
        let took = (cpu_time() - begin) / TIMES as u32;
        println!("  {what:<36} {:>6.0} µs", took.as_secs_f64() * 1e6);
    };
    println!("one change, {TIMES} of each");
    change("a policy goes", &|compiled, n| {
        compiled.set_policy(&policy(n).id, Vec::new());
    });
    change("a policy comes", &|compiled, n| {
        compiled.set_policy(&policy(n).id, vec![policy(n)]);
    });
    change("a policy selects others", &|compiled, n| {
        let mut policy = policy(n);
        if let Subject::Pods(subject) = &mut policy.subject {
            subject.pods = LabelMatch::default();
        }
        compiled.set_policy(&policy.id.clone(), vec![policy]);
    });
    change("a pod gets a label no other has", &|compiled, n| {
        let mut pod = pod(n);
        pod.labels.insert("version".into(), format!("canary-{n}"));
        compiled.set_pod(pod);
    });
    change("a pod goes", &|compiled, n| {
        compiled.remove_pod(&pod(n).namespace, &pod(n).name);
    });
    change("a pod comes", &|compiled, n| compiled.set_pod(pod(n)));
    change("a namespace gets another label", &|compiled, n| {
        compiled.set_namespace(Namespace {
            name: pod(n).namespace,
            labels: [("team".to_owned(), format!("t{}", n % 60))].into(),
            ..Namespace::default()
        });
    });
    let begin = cpu_time();
    let fresh = Compiled::new(compiled.policies(), compiled.cluster(), engine);
    let took = cpu_time() - begin;
    println!(
        "  {:<36} {:>6.0} µs",
        "everything anew",
        took.as_secs_f64() * 1e6
    );
    let pods = compiled.cluster().pods();
    for n in 0..200_000_usize {
        let connection = Connection {
            client: Party::pod(&pods[n * 7_919 % pods.len()]),
            server: Party::pod(&pods[n * 104_729 % pods.len()]),
            port: [80, 443, 8080, 53, 5432][n % 5],
            protocol: Protocol::Tcp,
        };
        assert_eq!(compiled.evaluate(&connection), fresh.evaluate(&connection));
    }
}

/// The processor time this thread has had: others on the machine do not count.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = stat.split_whitespace().next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

/// The most memory this process has had.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.unwrap_or("unknown").trim().to_owned()
}

/// A cluster of teams: each namespace has pods of a few workloads, a default deny, and what its workloads need.
fn world(size: &Size) -> (Cluster, PolicySet) {
    let mut text = String::from("apiVersion: v1\nkind: List\nitems:\n");
    for n in 0..size.namespaces {
        writeln!(
            text,
            "- {{kind: Namespace, apiVersion: v1, metadata: {{name: ns-{n}, labels: {{team: t{}, stage: {}}}}}}}",
            n % 50,
            ["dev", "prod"][n % 2]
        )
        .unwrap();
        for p in 0..size.pods {
            let number = n * size.pods + p;
            let app = ["web", "api", "db"][p % 3];
            writeln!(
                text,
                "- {{kind: Pod, apiVersion: v1, metadata: {{name: {app}-{p}, namespace: ns-{n}, labels: {{app: {app}, version: v{}}}}}, spec: {{nodeName: node-{}, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}, status: {{phase: Running, podIP: 10.{}.{}.{}}}}}",
                p / 6,
                number % 100,
                number >> 16,
                (number >> 8) & 255,
                number & 255
            )
            .unwrap();
        }
        for p in 0..size.policies {
            let spec = match p {
                0 => "{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}], ports: [{port: 53, protocol: UDP}]}, {to: [{podSelector: {}}]}]}".to_owned(),
                1 => format!("{{podSelector: {{matchLabels: {{app: api}}}}, policyTypes: [Ingress, Egress], ingress: [{{from: [{{podSelector: {{matchLabels: {{app: web}}}}}}, {{namespaceSelector: {{matchLabels: {{team: t{}, stage: prod}}}}, podSelector: {{matchExpressions: [{{key: app, operator: In, values: [web, api]}}]}}}}], ports: [{{port: http}}]}}], egress: [{{to: [{{ipBlock: {{cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}}}], ports: [{{port: 443}}]}}]}}", (n + 1) % 50),
                p => format!("{{podSelector: {{matchExpressions: [{{key: app, operator: NotIn, values: [x{p}]}}]}}, policyTypes: [Ingress], ingress: [{{from: [{{namespaceSelector: {{matchExpressions: [{{key: team, operator: NotIn, values: [t{}, t{p}]}}]}}}}], ports: [{{port: {}, endPort: {}}}]}}]}}", n % 50, 5000 + p, 5500 + p),
            };
            writeln!(text, "- {{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, metadata: {{name: p{p}, namespace: ns-{n}}}, spec: {spec}}}").unwrap();
        }
    }
    let manifest = read("world.yaml", &text);
    assert!(manifest.issues.is_empty(), "{:?}", manifest.issues.first());
    let (cluster, _) = Cluster::from_objects(&manifest.objects);
    let (policies, _) = PolicySet::from_objects(&manifest.objects);
    (cluster, policies)
}

//! A scenario small enough to be read at a glance.

/// Two nodes, two workloads, nothing lost.
pub(crate) const TINY: &str = r#"
name: tiny
about: one workload asks another
seed: 1
start: 2026-11-24T08:00:00Z
duration: 30m
cluster: {name: tiny, account: "1", region: cn-hangzhou, vpc: vpc-1, vswitch: vsw-1, snapshot_every: 10m}
nodes:
  - {name: a, address: 10.0.0.1, pods: 10.1.0.0/26, windows: [10m, 1m], clock_ahead: 1s}
  - {name: b, address: 10.0.0.2, pods: 10.1.1.0/26, windows: [10m, 5m], clock_ahead: -1s}
namespaces: [{name: shop, default_deny_missing: [egress]}]
workloads:
  - {name: shop/web, kind: Deployment, replicas: 2, labels: {app: web}}
  - {name: shop/api, kind: StatefulSet, replicas: 2, labels: {app: api}, ports: [{name: http, port: 80}]}
  - {name: shop/job, kind: CronJob, every: 5m, runs_for: 1m, labels: {app: job}}
policies:
  - name: shop/api
    from: 15m
    spec: {podSelector: {matchLabels: {app: api}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}
life: {swap_every: 4m}
traffic:
  - {name: web asks api, from: shop/web, to: shop/api, port: 80, every: 5s, between: [0s, 15m], intended: allowed, egress: allowed-not-isolated, ingress: allowed-not-isolated}
  - {name: web asks api by rule, from: shop/web, to: shop/api, port: 80, every: 5s, between: [15m, 30m], intended: allowed, egress: allowed-not-isolated, ingress: allowed-by-rule}
  - {name: a job tries api, from: shop/job, to: shop/api, port: 80, every: 10s, between: [15m, 30m], intended: denied, egress: allowed-not-isolated, ingress: denied}
"#;

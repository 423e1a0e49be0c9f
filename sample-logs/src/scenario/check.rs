//! Checks a scenario before it is played, so that a mistake is named with its line and a way out.

use super::traffic::{Answer, Egress, Ingress, Intended, Place, Protocol, TrafficSpec};
use super::{Kind, Scenario};
use crate::error::SampleLogsError;
use crate::time::{MINUTE_MS, Span};

/// Everything in the log happens in steps of the longest window.
pub(crate) const TICK_MS: i64 = 10 * MINUTE_MS;
/// Bounds of what is simulated in one go; `bulk` has no such bound.
const DURATION_MS_MAX: i64 = 7 * 24 * 60 * MINUTE_MS;
const PODS_MAX: usize = 20_000;
/// How far a clock may be off.
const CLOCK_MS_MAX: i64 = 3_000;

/// Whether flow logs are aggregated over as long.
fn is_window(window: &Span) -> bool {
    [1, 5, 10].contains(&(window.ms / MINUTE_MS)) && window.ms % MINUTE_MS == 0
}

struct Checker<'a> {
    file: &'a str,
    scenario: &'a Scenario,
}

/// The first thing in `scenario` that cannot be played.
pub(super) fn check(file: &str, scenario: &Scenario) -> Result<(), SampleLogsError> {
    let checker = Checker { file, scenario };
    checker.times()?;
    checker.nodes()?;
    checker.workloads()?;
    checker.terway()?;
    checker.policies_and_faults()?;
    for line in &scenario.traffic {
        checker.traffic(line)?;
    }
    Ok(())
}

impl Checker<'_> {
    fn wrong(&self, line: u64, message: String, help: &str) -> Result<(), SampleLogsError> {
        Err(SampleLogsError::Scenario {
            file: self.file.into(),
            line,
            message,
            help: help.into(),
        })
    }

    fn times(&self) -> Result<(), SampleLogsError> {
        let Scenario {
            start,
            duration,
            cluster,
            ..
        } = self.scenario;
        if start.value.ms % TICK_MS != 0 {
            return self.wrong(
                start.referenced.line(),
                "the start is not a multiple of ten minutes".into(),
                "windows are aligned to the clock; begin at a full ten minutes",
            );
        }
        if duration.value.ms <= 0
            || duration.value.ms % TICK_MS != 0
            || duration.value.ms > DURATION_MS_MAX
        {
            return self.wrong(
                duration.referenced.line(),
                "the duration is not a multiple of ten minutes between 10m and 7d".into(),
                "round it to ten minutes",
            );
        }
        if cluster.snapshot_every.ms < MINUTE_MS {
            return self.wrong(
                duration.referenced.line(),
                "`snapshot_every` is shorter than a minute".into(),
                "take a snapshot every 30m or so",
            );
        }
        Ok(())
    }

    fn nodes(&self) -> Result<(), SampleLogsError> {
        if self.scenario.nodes.is_empty() {
            return self.wrong(
                1,
                "there are no nodes".into(),
                "a cluster has at least one node",
            );
        }
        for node in &self.scenario.nodes {
            let line = node.name.referenced.line();
            let name = &node.name.value;
            let windows_are_known = node.windows.iter().all(is_window);
            if node.windows.len() < 2 || !windows_are_known {
                return self.wrong(
                    line,
                    format!("node `{name}` needs a window of 1m, 5m or 10m for its primary interface and at least one more"),
                    "write for example `windows: [10m, 1m, 5m]`",
                );
            }
            let clocks = [node.clock_ahead, node.log_clock_ahead];
            if clocks.iter().any(|clock| clock.ms.abs() > CLOCK_MS_MAX) {
                return self.wrong(
                    line,
                    format!("a clock of node `{name}` is more than three seconds off"),
                    "`clock_ahead` and `log_clock_ahead` go from -3s to 3s",
                );
            }
            if !(16..=28).contains(&node.pods.prefix_len()) {
                return self.wrong(
                    line,
                    format!("`pods` of node `{name}` is not between /16 and /28"),
                    "a /26 holds 62 pods",
                );
            }
            if self.scenario.cluster.dual_stack
                && node.pods_v6.is_none_or(|net| net.prefix_len() > 112)
            {
                return self.wrong(
                    line,
                    format!("node `{name}` has no `pods_v6` of /112 or larger"),
                    "give it one, or switch `dual_stack` off",
                );
            }
        }
        Ok(())
    }

    fn workloads(&self) -> Result<(), SampleLogsError> {
        let Scenario {
            workloads,
            namespaces,
            nodes,
            ..
        } = self.scenario;
        let mut pods = 0;
        for (index, workload) in workloads.iter().enumerate() {
            let line = workload.name.referenced.line();
            let name = &workload.name.value;
            if name.split('/').count() != 2 || workload.short_name().is_empty() {
                return self.wrong(
                    line,
                    format!("`{name}` is not `namespace/name`"),
                    "write for example `shop/web`",
                );
            }
            if self.scenario.workload(name) != Some(index) {
                return self.wrong(
                    line,
                    format!("workload `{name}` is there twice"),
                    "give one of them another name",
                );
            }
            if !namespaces
                .iter()
                .any(|namespace| namespace.name.value == workload.namespace())
            {
                return self.wrong(
                    line,
                    format!("workload `{name}` lies in no namespace of the scenario"),
                    "add it to `namespaces`",
                );
            }
            if let Some(missing) = workload
                .on
                .iter()
                .find(|on| !nodes.iter().any(|node| node.name.value == **on))
            {
                return self.wrong(
                    line,
                    format!("workload `{name}` is to run on `{missing}`, which is no node"),
                    "name a node of `nodes`",
                );
            }
            if workload.kind == Kind::CronJob {
                let every_ms = workload.every.map_or(0, |span| span.ms);
                let runs_ms = workload.runs_for.map_or(0, |span| span.ms);
                if every_ms < MINUTE_MS || runs_ms < 5_000 || runs_ms * 2 > every_ms {
                    return self.wrong(
                        line,
                        format!("CronJob `{name}` needs `every` of a minute or more and `runs_for` from 5s to half of that"),
                        "write for example `every: 10m` and `runs_for: 2m`",
                    );
                }
            }
            pods += workload.replicas;
        }
        if pods > PODS_MAX {
            return self.wrong(
                1,
                format!("{pods} replicas are more than {PODS_MAX}"),
                "use fewer; `bulk` makes many records from few pods",
            );
        }
        Ok(())
    }

    fn terway(&self) -> Result<(), SampleLogsError> {
        let terway = self.scenario.cluster.terway.as_ref();
        for workload in &self.scenario.workloads {
            let is_kept = matches!(workload.kind, Kind::Deployment | Kind::StatefulSet);
            let may_own = terway.is_some() && is_kept && !workload.host_network;
            if (workload.interfaces > 0 || workload.fixed) && !may_own
                || workload.fixed
                    && (workload.kind != Kind::StatefulSet || workload.interfaces == 0)
            {
                return self.wrong(
                    workload.name.referenced.line(),
                    format!("`{}` cannot have interfaces of its own, or not fixed ones", workload.name.value),
                    "set `cluster.terway`; `interfaces` is for Deployments and StatefulSets, `fixed` for StatefulSets that have some",
                );
            }
        }
        let Some(terway) = terway else { return Ok(()) };
        if terway.windows.is_empty()
            || !terway.windows.iter().all(is_window)
            || !(16..=28).contains(&terway.own.prefix_len())
        {
            return self.wrong(
                1,
                "`terway` needs a window of 1m, 5m or 10m, and `own` between /16 and /28".into(),
                "write for example `terway: {own: 10.0.64.0/24, windows: [10m, 1m]}`",
            );
        }
        Ok(())
    }

    fn policies_and_faults(&self) -> Result<(), SampleLogsError> {
        let Scenario {
            policies,
            namespaces,
            nodes,
            faults,
            life,
            ..
        } = self.scenario;
        for policy in policies {
            let namespace = policy.name.value.split('/').next().unwrap_or_default();
            if !policy.name.value.contains('/')
                || !namespaces.iter().any(|known| known.name.value == namespace)
            {
                return self.wrong(
                    policy.name.referenced.line(),
                    format!(
                        "policy `{}` lies in no namespace of the scenario",
                        policy.name.value
                    ),
                    "name it `namespace/name`",
                );
            }
        }
        for rollout in &life.rollouts {
            let found = self.scenario.workload(&rollout.workload.value);
            if found.is_none_or(|index| self.scenario.workloads[index].kind != Kind::Deployment) {
                return self.wrong(
                    rollout.workload.referenced.line(),
                    format!(
                        "`{}` is no Deployment that could be rolled out",
                        rollout.workload.value
                    ),
                    "name a workload of kind Deployment",
                );
            }
        }
        for relabel in &life.relabels {
            if self.scenario.workload(&relabel.workload.value).is_none() {
                return self.wrong(
                    relabel.workload.referenced.line(),
                    format!(
                        "`{}` is no workload that could be given labels",
                        relabel.workload.value
                    ),
                    "name one of `workloads`",
                );
            }
        }
        let mut watched_from_ms = 0;
        for [from, to] in &faults.watch_interrupted {
            if from.ms <= watched_from_ms
                || to.ms <= from.ms
                || to.ms >= self.scenario.duration.value.ms
            {
                return self.wrong(
                    self.scenario.duration.referenced.line(),
                    "a stretch of `watch_interrupted` does not lie inside the run, or not after the one before it".into(),
                    "write begin and end, in order, with something watched before, between and after",
                );
            }
            watched_from_ms = to.ms;
        }
        for skipped in &faults.skipdata {
            let line = skipped.node.referenced.line();
            let node = nodes
                .iter()
                .find(|node| node.name.value == skipped.node.value);
            if node.is_none_or(|node| skipped.interface >= node.windows.len()) {
                return self.wrong(
                    line,
                    format!(
                        "node `{}` has no interface {}",
                        skipped.node.value, skipped.interface
                    ),
                    "count from 0, in the order of `windows`",
                );
            }
            if skipped.node.value != faults.skipdata[0].node.value {
                return self.wrong(
                    line,
                    "windows are lost on two nodes".into(),
                    "keep them on one: a pair must never lose entries on both interfaces, or its totals could not be told",
                );
            }
        }
        Ok(())
    }

    fn traffic(&self, line: &TrafficSpec) -> Result<(), SampleLogsError> {
        let at = line.name.referenced.line();
        let name = &line.name.value;
        let (Some(from), Some(to)) = (
            Place::find(self.scenario, &line.from.value),
            Place::find(self.scenario, &line.to.value),
        ) else {
            return self.wrong(
                at,
                format!("`{name}` goes from `{}` to `{}`, and one of them is not in the scenario", line.from.value, line.to.value),
                "name a workload as `namespace/name`, an entry of `externals`, `kubelet` or `nodes`",
            );
        };
        if matches!(to, Place::Kubelet | Place::Nodes) {
            return self.wrong(
                at,
                format!("`{name}` goes to `{}`", line.to.value),
                "name the host-network workload that answers there",
            );
        }
        if matches!((from, to), (Place::External(_), Place::External(_))) {
            return self.wrong(
                at,
                format!("`{name}` does not touch the cluster"),
                "one end must be a workload or a node",
            );
        }
        if from.is_pod(self.scenario) == (line.egress == Egress::NotAPod) {
            return self.wrong(
                at,
                format!("`{name}`: the egress side does not fit who opens"),
                "`not-a-pod` is for externals, nodes and host network, and only for them",
            );
        }
        let own_node_is_right = line.ingress != Ingress::OwnNode || from == Place::Kubelet;
        if to.is_pod(self.scenario) == (line.ingress == Ingress::NotAPod) || !own_node_is_right {
            return self.wrong(
                at,
                format!("`{name}`: the ingress side does not fit who is asked"),
                "`not-a-pod` is for externals and host network, `own-node` for `kubelet`",
            );
        }
        let denied = line.egress == Egress::Denied || line.ingress == Ingress::Denied;
        if denied != (line.intended.value == Intended::Denied) {
            return self.wrong(
                line.intended.referenced.line(),
                format!("`{name}` is intended otherwise than its sides say"),
                "denied when a side is `denied`, else allowed",
            );
        }
        if line.answer == Answer::Rejected && matches!(to, Place::External(_)) {
            return self.wrong(
                at,
                format!("`{name}`: only an interface of the cluster can reject"),
                "use another `answer`",
            );
        }
        if line.prompt && (denied || line.answer != Answer::Established) {
            return self.wrong(
                at,
                format!("`{name}` is `prompt`, and an answer is not sure to come"),
                "leave `prompt` to what is allowed and answered",
            );
        }
        if line.answer == Answer::Refused && line.protocol != Protocol::Tcp {
            return self.wrong(
                at,
                format!("`{name}`: only TCP is refused"),
                "use `unanswered`",
            );
        }
        if (line.port == 0) != (line.protocol == Protocol::Icmp) {
            return self.wrong(
                at,
                format!("`{name}` has the wrong port"),
                "0 for ICMP, else the server's port",
            );
        }
        let bounds_hold = line
            .lasts
            .is_none_or(|[low, high]| low.ms >= 1_000 && low <= high)
            && line.between.is_none_or(|[low, high]| low <= high)
            && line
                .client_ports
                .is_none_or(|[low, high]| 0 < low && low <= high);
        if line.every.ms < 100 || !bounds_hold {
            return self.wrong(
                at,
                format!("`{name}`: `every` is below 100ms, or a range is upside down"),
                "write the lower bound first",
            );
        }
        Ok(())
    }
}

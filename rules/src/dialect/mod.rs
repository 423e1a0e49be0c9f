//! Policy languages, one module each: from the tree that was read to the common form.

pub mod ack;
pub mod admin_policy;
pub mod calico;
pub mod cilium;
pub mod network_policy;

use crate::kubernetes::Body;
use crate::policy::Policy;

/// What the policies among `bodies` become in the common form. They come together, because some refer to others.
pub(crate) fn lower(bodies: &[&Body]) -> Vec<Policy> {
    let mut policies = Vec::new();
    for body in bodies {
        match body {
            Body::NetworkPolicy(policy) => policies.push(Policy::from(policy)),
            Body::AdminPolicy(policy) => policies.push(Policy::from(policy)),
            Body::AckGlobalNetworkPolicy(policy) => policies.push(Policy::from(policy)),
            Body::Namespace(_)
            | Body::Node(_)
            | Body::Pod(_)
            | Body::Service(_)
            | Body::ServiceAccount(_)
            | Body::Controller(_)
            | Body::Calico(_)
            | Body::Terway(_)
            | Body::EndpointSlice(_)
            | Body::TerwayNode(_)
            | Body::NodeRuntime(_)
            | Body::PodEni(_)
            | Body::Cilium(_)
            | Body::CiliumCidrGroup(_)
            | Body::Other => {}
        }
    }
    policies.extend(calico::lower::lower(bodies));
    policies.extend(cilium::lower::lower(bodies));
    policies
}

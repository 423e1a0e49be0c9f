//! What is declared, and what it means: cluster model, policy dialects, verdicts.
//!
//! Text in, verdicts out. Nothing here opens, waits or asks the time; the instant is whatever the [`Cluster`] shows.
//! Evaluation cannot fail: a broken object is set aside when it is read, and named.
//!
//! The nouns, in the order in which they meet:
//!
//! - an [`Object`](kubernetes::Object) is read from YAML or JSON by [`kubernetes::read`], an [`Issue`](kubernetes::Issue)
//!   says what could not be;
//! - the [`Cluster`] is the world at one instant: [`Pod`](cluster::Pod)s, [`Namespace`](cluster::Namespace)s,
//!   [`Node`](cluster::Node)s and [`Service`](cluster::Service)s, and who holds which address;
//! - a [`PolicySet`] holds the policies in force at that instant;
//! - a [`Connection`] is the question: may this client open that port on this server;
//! - a [`Verdict`] is the answer: one [`Side`](verdict::Side) for the client's egress, one for the server's ingress, each
//!   with its [`Reason`](verdict::Reason)s. Where engines differ it is unspecified and names the points; an [`Engine`]
//!   settles those it defines.
//!
//! Below policies lies the cloud's own layer: [`SecurityGroups`](security_group::SecurityGroups) judge the same connection
//! at the interfaces of both ends, and a [`LayeredVerdict`](security_group::LayeredVerdict) shows both beside each other.
//!
//! [`Bulk`](bulk::Bulk) answers many questions over one world. [`terway`] reads which engine an ACK cluster has.
//! [`lint`](lint::lint) says what is wrong with the policies themselves.
//!
//! # A worked verdict
//!
//! ```
//! use flowaudit_rules::cluster::Cluster;
//! use flowaudit_rules::evaluate::{Connection, Engine, Party, evaluate};
//! use flowaudit_rules::policy_set::PolicySet;
//! use flowaudit_rules::{kubernetes, verdict};
//!
//! let manifest = kubernetes::read("shop.yaml", "
//! apiVersion: v1
//! kind: PodList
//! items:
//! - metadata: {name: cart-7d9f, namespace: shop, labels: {app: cart}}
//!   status: {podIP: 10.0.0.1}
//! - metadata: {name: redis-0, namespace: shop, labels: {app: redis}}
//!   status: {podIP: 10.0.0.2}
//! ---
//! apiVersion: networking.k8s.io/v1
//! kind: NetworkPolicy
//! metadata: {name: redis, namespace: shop}
//! spec:
//!   podSelector: {matchLabels: {app: redis}}
//!   ingress:
//!   - from: [{podSelector: {matchLabels: {app: checkout}}}]
//! ");
//! assert!(manifest.issues.is_empty());
//! let (cluster, _) = Cluster::from_objects(&manifest.objects);
//! let (policies, _) = PolicySet::from_objects(&manifest.objects);
//!
//! let connection = Connection {
//!     client: Party::pod(cluster.pod("shop", "cart-7d9f").unwrap()),
//!     server: Party::pod(cluster.pod("shop", "redis-0").unwrap()),
//!     port: 6379,
//!     protocol: "TCP".parse().unwrap(),
//! };
//! let verdict = evaluate(&policies, &cluster, Engine::Unknown, &connection);
//! assert_eq!(verdict::explain(&verdict, &connection), "\
//! denied   shop/cart-7d9f → shop/redis-0  TCP 6379
//!   egress   allowed  no policy isolates shop/cart-7d9f for egress
//!   ingress  denied   NetworkPolicy shop/redis selects shop/redis-0; its ingress rule 0 admits only \
//! pods app=checkout of namespace shop, the client has app=cart
//! ");
//! ```
//!
//! [`Cluster`]: cluster::Cluster
//! [`PolicySet`]: policy_set::PolicySet
//! [`Connection`]: evaluate::Connection
//! [`Verdict`]: verdict::Verdict
//! [`Engine`]: reading::Engine

pub mod cluster;

pub mod cidr;
pub mod label;
pub mod port;
pub mod selector;

pub mod policy;

pub mod dialect;
pub mod kubernetes;

pub mod evaluate;
pub mod policy_set;
pub mod reading;
pub mod verdict;

pub mod terway;

pub mod security_group;

pub mod bulk;
pub mod lint;
pub mod matrix;

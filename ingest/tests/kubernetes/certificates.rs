//! A server whose certificate changes, with the authority that vouches for it.
//!
//! The keys beside this file are of no use to anyone but this test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::common::{Place, pod, short, until};
use crate::fake_kube::TOKEN;
use crate::listening::KINDS;

/// Authority, certificate and key.
type Papers = [&'static [u8]; 3];

const ONE: Papers = [
    include_bytes!("certificates/one.ca.pem"),
    include_bytes!("certificates/one.cert.pem"),
    include_bytes!("certificates/one.key.pem"),
];
const TWO: Papers = [
    include_bytes!("certificates/two.ca.pem"),
    include_bytes!("certificates/two.cert.pem"),
    include_bytes!("certificates/two.key.pem"),
];

fn acceptor([_, certificate, key]: Papers) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Speaks TLS before the fake, with the certificate that is there when a connection begins. Its thread ends with the process.
fn serve(fake: SocketAddr, shown: Arc<Mutex<TlsAcceptor>>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = shown.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut inner = TcpStream::connect(fake).await?;
                    let mut outer = acceptor.accept(stream).await?;
                    tokio::io::copy_bidirectional(&mut outer, &mut inner).await
                });
            }
        });
    });
    address
}

#[test]
fn a_new_authority_is_read_where_the_old_one_vouches_no_longer() {
    let place = Place::new();
    place.pods(0..2);
    let authority = place.dir.path().join("ca.pem");
    std::fs::write(&authority, ONE[0]).unwrap();
    let shown = Arc::new(Mutex::new(acceptor(ONE)));
    let address = serve(place.fake.address, shown.clone());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "contexts": [{"name": "fake", "context": {"cluster": "c", "user": "u", "namespace": "audit"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("https://{address}"), "certificate-authority": authority}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    });
    std::fs::write(place.kubeconfig(), kubeconfig.to_string()).unwrap();
    let listening = place.watch();
    listening.until_listed(KINDS);
    until("pods are watched", || place.watches("pods") > 0);
    // Every connection is closed, and whoever comes again is shown another certificate.
    *shown.lock().unwrap() = acceptor(TWO);
    {
        let mut world = place.fake.world();
        world.faults.away = true;
        world.cut();
    }
    listening.until("the certificate is refused", |taken| {
        let mut told = taken.told.iter();
        told.any(|line| line.contains("the server's certificate is refused"))
    });
    place.fake.world().faults.away = false;
    std::fs::write(&authority, TWO[0]).unwrap();
    place.create("pods", pod("after", 9));
    listening.until("the pod is heard of", |taken| {
        let of_pods = short(taken, "Pod");
        of_pods.iter().any(|text| text.ends_with(" after"))
    });
    listening.end().1.unwrap();
}

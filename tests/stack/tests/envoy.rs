//! An Envoy that answers by itself.

use std::net::SocketAddr;

use stack::{Envoy, http_get};
use tokio::net::TcpStream;

#[tokio::test]
async fn envoy_starts_with_a_configuration_answers_and_ends() -> anyhow::Result<()> {
    let envoy = Envoy::start(greeting).await?;
    let answer = http_get(envoy.addr(), "/").await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(envoy.stat("http.ingress.downstream_rq_2xx").await?, 1);
    assert!(envoy.stat("http.ingress.no_such_thing").await.is_err());

    envoy.kill();
    assert!(http_get(envoy.addr(), "/").await.is_err(), "a killed Envoy answered");
    envoy.restart().await?;
    assert_eq!(http_get(envoy.addr(), "/").await?.body, "hello");

    let (addr, admin) = (envoy.addr(), envoy.admin_addr());
    drop(envoy);
    for addr in [addr, admin] {
        assert!(TcpStream::connect(addr).await.is_err(), "a dropped Envoy listens");
    }
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_envoy_refuses_is_shown() {
    let error = Envoy::start(|_| "static_resources: {no_such_thing: 1}".into()).await.unwrap_err();
    assert!(error.to_string().contains("no_such_thing"), "{error}");
}

fn greeting(listen: SocketAddr) -> String {
    format!(
        r#"
static_resources:
  listeners:
    - address: {{socket_address: {{address: {}, port_value: {}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {{prefix: /}}
                          direct_response: {{status: 200, body: {{inline_string: hello}}}}
"#,
        listen.ip(),
        listen.port()
    )
}

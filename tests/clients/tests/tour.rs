//! Executes the README's tour, command by command, against `standalone`.

use std::{
    io::{Write as _, stderr},
    process::Command,
};

use clients::{script, steps};
use stack::{Service, binary};

const README: &str = include_str!("../../../README.md");

#[tokio::test]
async fn the_readme_tour_does_as_it_says() -> anyhow::Result<()> {
    if Command::new("grpcurl").arg("-version").output().is_err() {
        // Installing it needs Go, which is not required of a machine that only runs the tests. Not by eprintln, which
        // a test that passes keeps to itself.
        writeln!(
            stderr(),
            "\nWARNING: THE README'S TOUR WAS NOT TRIED: grpcurl is not installed (it needs Go)"
        )?;
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let standalone = Service::builder("standalone", binary("standalone")?)
        .env("DATA_DIR", data.to_string_lossy())
        .env("BOOTSTRAP_ADMIN_KEY", "let-me-in-please")
        .start()
        .await?;

    let steps = steps(README);
    assert!(steps.len() > 20, "the tour was not found in the README");
    let script = script(&steps)
        .replace("127.0.0.1:50051", &standalone.grpc_addr().to_string())
        .replace("/tmp/", &format!("{}/", dir.path().display()));
    let output = Command::new("bash").arg("-c").arg(script).output()?;
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), standalone.log());
    Ok(())
}

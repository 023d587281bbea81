//! The pages in a real Chromium, which chromedriver tells what to do.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use axum::body::Body;
use axum::http::{Method, StatusCode};
use e2e::{Client, PATIENCE};
use rpc::snippets::v1::Snippet;
use serde_json::{Value, json};
use stack::{Port, Service, binary, http_get, kill_tree, until};
use tempfile::TempDir;

use crate::web::Web;

/// Ends chromedriver, and with it Chromium, when its standard input does, which happens whatever ends this process.
const UNTIL_ORPHANED: &str = r#"chromedriver --port="$1" & read -r _; kill $!; wait"#;

/// How WebDriver names an element in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// A page that says in its title that a script ran.
const SCRIPTED: &str = "data:text/html,<title>idle</title><script>document.title='ran'</script>";

struct Browser {
    shell: Child,
    driver: Web,
    session: String,
    port: Port,
    dir: TempDir,
}

impl Browser {
    async fn start(scripts: bool) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::free().unwrap());
        let log = File::create(dir.path().join("log")).unwrap();
        let shell = Command::new("sh")
            .args(["-c", UNTIL_ORPHANED, "chromedriver", &port.addr().port().to_string()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let driver = Web::to(port.addr()).with("content-type", "application/json");
        let mut browser = Self { shell, driver, session: String::new(), port, dir };
        let up = async || http_get(browser.port.addr(), "/status").await.is_ok();
        until("chromedriver listens (Debian's package chromium-driver)", PATIENCE, up).await.unwrap();
        let profile = browser.dir.path().join("profile");
        let options = json!({
            // Root may have no sandbox; only pages of this machine are shown.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", format!("--user-data-dir={}", profile.display())],
            "prefs": {"profile.managed_default_content_settings.javascript": if scripts { 1 } else { 2 }},
        });
        let wanted =
            json!({"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}});
        let session = browser.say(Method::POST, "/session", json!({"capabilities": wanted})).await;
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    async fn say(&self, method: Method, path: &str, message: Value) -> Value {
        let body = if method == Method::GET { Body::empty() } else { message.to_string().into() };
        let answer = self.driver.send(method, &format!("{}{path}", self.session), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()["value"].take()
    }

    async fn ask(&self, path: &str) -> String {
        self.say(Method::GET, path, Value::Null).await.as_str().unwrap().to_owned()
    }

    async fn open(&self, url: &str) {
        self.say(Method::POST, "/url", json!({"url": url})).await;
    }

    /// The path of the first element of that selector.
    async fn element(&self, selector: &str) -> String {
        let found = json!({"using": "css selector", "value": selector});
        let element = self.say(Method::POST, "/element", found).await;
        format!("/element/{}", element[ELEMENT].as_str().unwrap())
    }

    /// Presses keys wherever the focus is.
    async fn press(&self, keys: &str) {
        let focused = self.say(Method::GET, "/element/active", Value::Null).await;
        let path = format!("/element/{}/value", focused[ELEMENT].as_str().unwrap());
        self.say(Method::POST, &path, json!({"text": keys})).await;
    }

    async fn evaluate(&self, script: &str) -> Value {
        self.say(Method::POST, "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// What was put into the console: a resource that the policy forbids, or that is not there, is told here.
    async fn complaints(&self) -> Value {
        self.say(Method::POST, "/se/log", json!({"type": "browser"})).await
    }

    async fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": [feature]}});
        self.say(Method::POST, "/goog/cdp/execute", command).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_tree(self.shell.id());
        let _ = self.shell.wait();
    }
}

/// The whole system in one process.
async fn standalone() -> (Service, Client, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let server = Service::builder("standalone", binary("standalone").unwrap());
    let server = server.env("DATA_DIR", dir.path().to_string_lossy()).start().await.unwrap();
    let client = Client::to(&server).await.unwrap();
    (server, client, dir)
}

#[tokio::test]
async fn a_hostile_text_is_shown_and_does_not_run() {
    let (server, client, _dir) = standalone().await;
    let browser = Browser::start(true).await;
    browser.open(SCRIPTED).await;
    assert_eq!(browser.ask("/title").await, "ran", "scripts run where they may");

    let title = "</title><script>document.title = 'ran'</script>";
    let body = "\n<!DOCTYPE html>\n</code></pre><script>document.title = 'ran'</script>\n\
                <img src=x onerror=\"document.title = 'ran'\">\n<svg onload=\"document.title = 'ran'\">\n\n&lt;\tend";
    for language in ["", "html", "javascript", "<script>document.title = 'ran'</script>"] {
        let tags = vec![title[..40].to_owned()];
        let language = language.chars().take(40).collect();
        let snippet =
            Snippet { title: title.into(), body: body.into(), language, tags, ..Snippet::default() };
        let id = client.create(snippet).await.unwrap().id;
        browser.open(&format!("{}/s/{id}", server.grpc_url())).await;
        assert_eq!(browser.ask("/title").await, title);
        // What one copies is the text, without the numbers of its lines.
        let select = "getSelection().selectAllChildren(document.querySelector('code')); return getSelection().toString()";
        assert_eq!(browser.evaluate(select).await, body);
        assert_eq!(browser.complaints().await, json!([]));
        browser.open(&format!("{}/s/{id}/raw", server.grpc_url())).await;
        assert_eq!(browser.ask("/title").await, "");
        assert_eq!(browser.evaluate("return document.querySelectorAll('script, img, svg').length").await, 0);
    }
}

#[tokio::test]
async fn a_text_is_shared_by_keyboard_and_without_scripts() {
    let (server, client, _dir) = standalone().await;
    let browser = Browser::start(false).await;
    browser.open(SCRIPTED).await;
    assert_eq!(browser.ask("/title").await, "idle", "scripts are off");

    browser.open(&format!("{}/", server.grpc_url())).await;
    // The focus is in the text at once; the title is too long at first.
    let typed = "\nfn main() {}\n";
    browser.press(typed).await;
    let title = browser.element("#title").await;
    browser.say(Method::POST, &format!("{title}/value"), json!({"text": "t".repeat(201) + ENTER})).await;
    let mistake = browser.element("#title-wrong").await;
    assert_eq!(browser.ask(&format!("{mistake}/text")).await, "It must have at most 200 characters.");
    let text = browser.element("#body").await;
    assert_eq!(browser.ask(&format!("{text}/property/value")).await, typed);

    let title = browser.element("#title").await;
    browser.say(Method::POST, &format!("{title}/clear"), json!({})).await;
    browser.say(Method::POST, &format!("{title}/value"), json!({"text": format!("Mine{TAB}")})).await;
    browser.press(&format!("rust{TAB}")).await;
    browser.press(TAB).await;
    browser.press(TAB).await;
    browser.press(ENTER).await;
    let address = browser.ask("/url").await;
    let id =
        address.strip_prefix(&format!("{}/s/", server.grpc_url())).unwrap_or_else(|| panic!("at {address}"));
    let shared = client.get(id).await.unwrap();
    assert_eq!(
        (shared.title.as_str(), shared.language.as_str(), shared.body.as_str()),
        ("Mine", "rust", typed)
    );
    assert_eq!(browser.ask("/title").await, "Mine");
}

#[tokio::test]
async fn it_can_be_read_by_day_and_by_night() {
    let (server, client, _dir) = standalone().await;
    let browser = Browser::start(true).await;
    let body = "// note\nfn main() -> u8 { let s = \"a\"; 1 }\n";
    let snippet =
        Snippet { title: "t".into(), language: "rust".into(), body: body.into(), ..Snippet::default() };
    let id = client.create(snippet).await.unwrap().id;
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.open(&format!("{}/s/{id}", server.grpc_url())).await;
        backs.push(luminance(&color(&browser, "body", "background-color").await));
        let field = luminance(&color(&browser, "pre", "background-color").await);
        for word in ["code", ".c", ".k", ".f", ".s", ".n", ".about", "h1"] {
            let contrast = contrast(luminance(&color(&browser, word, "color").await), field);
            assert!(contrast >= 4.5, "{word} in {scheme} has {contrast}");
        }
    }
    assert!(backs[0] > 0.9 && backs[1] < 0.1, "{backs:?}");
}

/// A colour of the first element of that selector, as `rgba(20, 24, 31, 1)`.
async fn color(browser: &Browser, selector: &str, property: &str) -> String {
    let element = browser.element(selector).await;
    browser.ask(&format!("{element}/css/{property}")).await
}

/// How bright it is, and how far apart two are, as WCAG 2.2 has it.
fn luminance(color: &str) -> f64 {
    let numbers = color.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<f64>().ok());
    let linear = numbers
        .map(|it| it / 255.0)
        .map(|it| if it <= 0.04045 { it / 12.92 } else { ((it + 0.055) / 1.055).powf(2.4) });
    linear.zip([0.2126, 0.7152, 0.0722]).map(|(part, weight)| part * weight).sum()
}

fn contrast(one: f64, other: f64) -> f64 {
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

//! The description of the API: the OpenAPI document, which says the same as the table of rules, and a page of it for
//! people, which needs nothing from elsewhere.

use std::{collections::BTreeSet, fmt::Write, sync::LazyLock};

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{Html, IntoResponse},
};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    App,
    problem::{MEDIA_TYPE, Problem},
    routes,
    rules::{self, Rule},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adit",
        description = "What the operator of an Adit pool can see and do. Amounts are satoshis, times are milliseconds \
                       since 1970 UTC. Problems follow RFC 9457, with a `code` that stays. Lists come in pages.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem))
)]
struct Document;

/// Routes with what describes them.
pub(super) struct Described {
    router: OpenApiRouter<App>,
    /// Names by which routes mean one schema here and another one there. The document would have the last one alone, and be
    /// wrong about the others.
    ambiguous: BTreeSet<String>,
}

impl Described {
    /// None yet.
    fn new() -> Described {
        Described { router: OpenApiRouter::with_openapi(Document::openapi()), ambiguous: BTreeSet::new() }
    }

    /// Adds the methods of a path.
    pub(super) fn routes(mut self, routes: UtoipaMethodRouter<App>) -> Described {
        let known = self.router.get_openapi().components.as_ref().map(|components| &components.schemas);
        let mut other = BTreeSet::new();
        for (place, (name, schema)) in routes.0.iter().enumerate() {
            let known = known.and_then(|known| known.get(name));
            let before = routes.0[..place].iter().filter(|(other, _)| other == name).map(|(_, schema)| schema);
            if known.into_iter().chain(before).any(|known| known != schema) {
                other.insert(name.clone());
            }
        }
        self.ambiguous.extend(other);
        Described { router: self.router.routes(routes), ambiguous: self.ambiguous }
    }
}

/// Returns all routes.
fn described() -> Described {
    routes::add(Described::new()).routes(routes!(openapi)).routes(routes!(docs))
}

/// Returns the routes, and the document that describes them.
pub(super) fn router() -> (Router<App>, Value) {
    let Described { router, ambiguous } = described();
    debug_assert!(ambiguous.is_empty(), "schemas of the API that share a name: {ambiguous:?}");
    let (router, document) = router.split_for_parts();
    let mut document = serde_json::to_value(document).expect("the document is plain data");
    amend(&mut document);
    // Always the same, whichever order of keys the JSON library was built to keep.
    document.sort_all_objects();
    (router, document)
}

/// Returns the document.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| router().1);
    &DOCUMENT
}

/// Says of each operation who may use it and what can go wrong, as the table of rules has it.
fn amend(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "A token: `adit token add`."}
    });
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        let Some(item) = item.as_object_mut() else { continue };
        for (method, operation) in item.iter_mut() {
            let method = method.to_ascii_uppercase().parse().expect("methods are words");
            if let (Some(rule), Some(operation)) = (rules::find(&method, path), operation.as_object_mut()) {
                amend_operation(operation, rule);
            }
        }
    }
}

fn amend_operation(operation: &mut Map<String, Value>, rule: &Rule) {
    match rule.access.least_role() {
        None => operation.insert("security".to_owned(), json!([])),
        Some(role) => {
            operation.insert("x-least-role".to_owned(), json!(role.as_str()));
            operation.insert("security".to_owned(), json!([{"token": []}]))
        }
    };
    if rule.moves_money {
        operation.insert("x-moves-money".to_owned(), json!(true));
        let header = json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": true,
            "description": "A new one for each request. The same request again under its key gets the same answer.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        });
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(header);
        }
    }
    let problem = json!({
        "description": "A problem (RFC 9457)",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        responses.insert("default".to_owned(), problem);
    }
}

/// This description, as an OpenAPI document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    operation_id = "show_openapi",
    tag = "about",
    responses((status = OK, description = "The document"))
)]
async fn openapi() -> impl IntoResponse {
    axum::Json(document())
}

/// This description, as a page.
#[utoipa::path(
    get,
    path = "/api/docs",
    operation_id = "show_docs",
    tag = "about",
    responses((status = OK, description = "The page", content_type = "text/html", body = String))
)]
async fn docs() -> impl IntoResponse {
    static PAGE: LazyLock<String> = LazyLock::new(|| page(document()));
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE.as_str()))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f4f5f7;padding:.75rem;\
overflow:auto}details{border:1px solid #d5d9df;border-radius:6px;margin:.5rem 0;padding:.25rem .75rem}summary{cursor:\
pointer}b{display:inline-block;min-width:4.5rem}small{color:#57606a}table{border-collapse:collapse}td{padding:.1rem \
1rem .1rem 0;vertical-align:top}@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}pre{background:\
#20252a}details{border-color:#3a4149}small{color:#9aa4af}a{color:#79b8ff}}";

/// Writes the document for people: plain HTML, without a script.
fn page(document: &Value) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>Adit \
         API</title><style>{STYLE}</style><h1>Adit API</h1><p>{}</p><p>Send <code>authorization: Bearer \
         adit_&hellip;</code>; <code>adit token add</code> makes a token. The same in OpenAPI: <a \
         href=\"/api/openapi.json\">/api/openapi.json</a>.</p>",
        escaped(text(&document["info"]["description"]))
    );
    let mut tags: Vec<(&str, Vec<String>)> = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            let tag = text(&operation["tags"][0]);
            let shown = operation_html(path, method, operation);
            match tags.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, operations)) => operations.push(shown),
                None => tags.push((tag, vec![shown])),
            }
        }
    }
    for (tag, operations) in tags {
        let _ = write!(html, "<h2>{}</h2>{}", escaped(tag), operations.concat());
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in object(&document["components"]["schemas"]) {
        let schema = serde_json::to_string_pretty(schema).unwrap_or_default();
        let name = escaped(name);
        let _ = write!(
            html,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escaped(&schema)
        );
    }
    html
}

fn operation_html(path: &str, method: &str, operation: &Value) -> String {
    let role = operation["x-least-role"].as_str().map_or("no token".to_owned(), |role| format!("{role} or more"));
    let mut html = format!(
        "<details><summary><b>{}</b> <code>{}</code> <small>{}</small></summary><p>{}</p><p>{}</p>",
        escaped(&method.to_ascii_uppercase()),
        escaped(path),
        escaped(&role),
        escaped(text(&operation["summary"])),
        escaped(text(&operation["description"])),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table>");
        for parameter in parameters {
            let required = if parameter["required"] == json!(true) { "required" } else { "" };
            let cells = [&parameter["name"], &parameter["in"], &json!(required), &parameter["description"]];
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(text(cell)))).collect();
            let _ = write!(html, "<tr>{cells}</tr>");
        }
        html.push_str("</table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    html.push_str(&schema_html("Body", body));
    for (status, response) in object(&operation["responses"]) {
        let content = object(&response["content"]).next().map(|(_, content)| &content["schema"]);
        html.push_str(&schema_html(status, content.unwrap_or(&Value::Null)));
    }
    html.push_str("</details>");
    html
}

/// A schema in a line: a link to it if it has a name.
fn schema_html(title: &str, schema: &Value) -> String {
    if schema.is_null() {
        return String::new();
    }
    match schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        Some(name) => {
            let (title, name) = (escaped(title), escaped(name));
            format!("<p>{title}: <a href=\"#{name}\"><code>{name}</code></a></p>")
        }
        None => format!("<p>{}: <code>{}</code></p>", escaped(title), escaped(&schema.to_string())),
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;
    use crate::api::idempotency;

    /// Where the copy of the document is that stands in the repository.
    const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    /// Set to write the copy anew.
    const RENEW: &str = "ADIT_RENEW_OPENAPI";

    #[test]
    fn copy_of_the_document_in_the_repository_is_this_document() {
        let text = format!("{}\n", serde_json::to_string_pretty(document()).unwrap());
        if env::var_os(RENEW).is_some() {
            fs::create_dir_all(Path::new(COPY).parent().unwrap()).unwrap();
            return fs::write(COPY, text).unwrap();
        }
        let copy = fs::read_to_string(COPY).unwrap_or_default();
        assert!(copy == text, "docs/openapi.json is not what the pool serves: renew it with {RENEW}=1");
    }

    #[test]
    fn every_route_has_a_rule_and_every_rule_a_route() {
        let mut described = Vec::new();
        for (path, item) in object(&document()["paths"]) {
            for (method, operation) in object(item) {
                let method = method.to_ascii_uppercase();
                let rule = rules::find(&method.parse().unwrap(), path);
                assert!(rule.is_some(), "{method} {path} has no rule");
                assert!(operation["security"].is_array(), "{method} {path}");
                assert!(!text(&operation["summary"]).is_empty(), "{method} {path} is not described");
                described.push((method, path.to_owned()));
            }
        }
        for rule in rules::RULES {
            let route = (rule.method.to_string(), rule.path.to_owned());
            assert!(described.contains(&route), "{route:?} is a rule for nothing");
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for (path, item) in object(&document()["paths"]) {
            for (method, operation) in object(item) {
                let name = text(&operation["operationId"]);
                let words: Vec<&str> = name.split('_').collect();
                let is_plain =
                    words.iter().all(|word| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase()));
                // What is done, and to what: clients that are generated call their functions so.
                assert!(words.len() > 1 && is_plain, "{method} {path} is called {name:?}");
                assert!(names.insert(name), "{method} {path} is called {name} as another operation is");
            }
        }
    }

    #[test]
    fn no_two_schemas_share_a_name() {
        assert_eq!(described().ambiguous, BTreeSet::new());
    }

    mod one {
        #[derive(serde::Serialize, utoipa::ToSchema)]
        pub(super) struct Shared {
            hash: String,
        }

        #[utoipa::path(get, path = "/one", responses((status = OK, body = Shared)))]
        pub(super) async fn show() {}
    }

    mod other {
        #[derive(serde::Serialize, utoipa::ToSchema)]
        pub(super) struct Shared {
            height: u32,
        }

        #[utoipa::path(get, path = "/other", responses((status = OK, body = Shared)))]
        pub(super) async fn show() {}

        #[utoipa::path(post, path = "/one", responses((status = OK, body = Shared)))]
        pub(super) async fn add() {}
    }

    #[test]
    fn schemas_that_share_a_name_are_told() {
        let told = |described: Described| described.ambiguous.into_iter().collect::<Vec<_>>();
        assert_eq!(told(Described::new().routes(routes!(one::show)).routes(routes!(other::show))), ["Shared"]);
        assert_eq!(told(Described::new().routes(routes!(one::show, other::add))), ["Shared"], "of one path");
        assert!(told(Described::new().routes(routes!(other::show)).routes(routes!(other::add))).is_empty());
    }

    #[test]
    fn what_moves_money_takes_a_key() {
        for rule in rules::RULES.iter().filter(|rule| rule.moves_money) {
            let operation = &document()["paths"][rule.path][rule.method.as_str().to_ascii_lowercase()];
            let parameters = operation["parameters"].as_array().unwrap();
            let key = parameters.iter().find(|it| text(&it["name"]).eq_ignore_ascii_case(idempotency::HEADER));
            assert_eq!(key.unwrap()["required"], true, "{rule:?}");
        }
    }

    #[test]
    fn references_lead_somewhere() {
        let text = document().to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document()["components"]["schemas"][name].is_object(), "there is no schema {name}");
        }
    }

    #[test]
    fn page_names_every_route_and_asks_nothing_of_anybody_else() {
        let page = page(document());
        for rule in rules::RULES {
            assert!(page.contains(&escaped(rule.path)), "{}", rule.path);
        }
        for elsewhere in ["<script", "http://", "https://", "<link", "<img"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}

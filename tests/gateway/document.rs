//! The OpenAPI document lists exactly the routes, and describes what they answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::world::{Got, HOUR, Served, World, limits, serve};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn operations(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, item)| {
            (
                path.clone(),
                item.as_object().unwrap().keys().cloned().collect(),
            )
        })
        .collect()
}

async fn allowed(served: &Served, path: &str) -> BTreeSet<String> {
    let path = path
        .replace("{path}", "root")
        .replace("{epoch}", "1")
        .replace("{channel}", "a");
    let request = served
        .client
        .request("BREW".parse().unwrap(), served.url(&path));
    let got = Got::of(request).await;
    assert_eq!(got.status, 405, "{path}");
    let allow = got.header("allow").to_ascii_lowercase();
    let methods = allow.split(',').map(str::to_owned);
    methods.filter(|method| method != "head").collect()
}

#[tokio::test]
async fn the_document_lists_exactly_the_routes() {
    let world = World::new();
    for (view, paths) in [(world.view(), 13), (world.view_with_admin(), 15)] {
        let served = serve(view, limits()).await;
        let got = served.get("/api/openapi.json").await;
        assert_eq!(got.header("content-type"), "application/json");
        let document = got.json();
        assert_eq!(document["info"]["version"], "1.2.3");
        let listed = operations(&document);
        assert_eq!(listed.len(), paths);
        for (path, methods) in &listed {
            assert_eq!(*methods, allowed(&served, path).await, "{path}");
        }
    }
}

#[tokio::test]
async fn every_operation_describes_the_problems_that_all_may_answer() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    let document = served.get("/api/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            let operation = &item[*method];
            for status in ["200", "400", "413", "431", "500", "503"] {
                let response = &operation["responses"][status];
                assert!(response["content"].is_object(), "{method} {path} {status}");
            }
            let protected = operation.get("security").is_some();
            assert_eq!(protected, path.starts_with("/admin"), "{path}");
            let has_401 = operation["responses"].get("401").is_some();
            assert_eq!(has_401, protected, "{path}");
        }
    }
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
}

/// The fields of an object, and of the objects in it.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        fields(value, &at, found);
        found.insert(at);
    }
}

fn described(document: &Value, schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    let schema = match schema["$ref"].as_str() {
        Some(place) => document.pointer(&place[1..]).unwrap(),
        None => schema,
    };
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        described(document, schema, &at, found);
        found.insert(at);
    }
}

#[tokio::test]
async fn the_form_of_a_proof_is_that_which_the_domain_writes() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let document = served.get("/api/openapi.json").await.json();
    let proof = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user=bob");
    let mut written = BTreeSet::new();
    fields(&served.get(&proof).await.json(), "", &mut written);
    let mut told = BTreeSet::new();
    let schema = &document["components"]["schemas"]["PresenceProof"];
    described(&document, schema, "", &mut told);
    assert_eq!(told, written);
    assert_eq!(told.len(), 18);
}

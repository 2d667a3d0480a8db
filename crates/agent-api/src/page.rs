//! The page: one file of each kind, nothing from elsewhere. It asks the API like any other caller.

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};

const INDEX: &str = include_str!("../assets/index.html");
const SCRIPT: &str = include_str!("../assets/page.js");
const STYLE: &str = include_str!("../assets/page.css");

const fn kind(kind: &'static str) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, kind)]
}

pub(crate) async fn index() -> impl IntoResponse {
    (kind("text/html; charset=utf-8"), INDEX)
}

pub(crate) async fn script() -> impl IntoResponse {
    (kind("text/javascript; charset=utf-8"), SCRIPT)
}

pub(crate) async fn style() -> impl IntoResponse {
    (kind("text/css; charset=utf-8"), STYLE)
}

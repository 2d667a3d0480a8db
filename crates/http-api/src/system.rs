//! Health, metrics, and the API's description with its page.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use holdfast_wire::{ProblemDetails, problem::MEDIA_TYPE};
use utoipa::{
    Modify, OpenApi, PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        path::PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    App,
    auth::Viewer,
    extract::Query,
    problem::{ApiProblem, ApiResult},
};

/// The head of the description; the routes add the rest.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Holdfast",
        description = "Keeps industrial field devices in the state that their operators asked for, and proves it. \
            Errors are problem details (RFC 9457) that name the field, what was expected and what was found. Every answer \
            carries an `x-request-id`, which is the correlation id of the events that came of the request.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "agent", description = "What a device's agent uses"),
        (name = "devices", description = "Edge computers, each with one agent"),
        (name = "sensors", description = "Field instruments: the read model, and edits one by one"),
        (name = "target", description = "What a device should run, as a whole"),
        (name = "current", description = "What a device's agent says is true"),
        (name = "drift", description = "Differences between the two"),
        (name = "values", description = "The values that outputs shall hold, and the loop that holds them"),
        (name = "events", description = "What happened"),
        (name = "access", description = "Tokens and provisioning keys"),
        (name = "system", description = "Health and metrics"),
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Schemes),
)]
pub(crate) struct Description;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = |what: &str| {
            let http = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(what));
            SecurityScheme::Http(http.build())
        };
        let components = openapi.components.get_or_insert_default();
        let token = "An operator's token, or a device's. The names beside it are the least role: viewer, operator, \
                     admin, or agent (the token of the device itself).";
        components.add_security_scheme("bearer", bearer(token));
        components.add_security_scheme(
            "provisioningKey",
            bearer("A provisioning key, for registration only."),
        );
    }
}

/// Says of every operation that it may answer with a problem.
pub(crate) fn with_problems(mut router: OpenApiRouter<App>) -> OpenApiRouter<App> {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemDetails::name())))
        .build();
    let problem = ResponseBuilder::new()
        .description("What went wrong")
        .content(MEDIA_TYPE, content)
        .build();
    for item in router.get_openapi_mut().paths.paths.values_mut() {
        let PathItem {
            get,
            put,
            post,
            delete,
            options,
            head,
            patch,
            trace,
            ..
        } = item;
        for operation in [get, put, post, delete, options, head, patch, trace]
            .into_iter()
            .flatten()
        {
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(problem.clone()));
        }
    }
    debug_assert!(
        matches!(ProblemDetails::schema(), RefOr::T(_)),
        "a schema of its own"
    );
    router
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/healthz", tag = "system", security(()),
    responses((status = 200, description = "It is", body = String))
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Can the process do its work? Asks the store.
#[utoipa::path(
    get, path = "/readyz", tag = "system", security(()),
    responses((status = 200, description = "It can", body = String), (status = 503, description = "Not now"))
)]
pub(crate) async fn readyz(State(app): State<App>) -> ApiResult<&'static str> {
    /// Longer than a store that works ever takes, shorter than those who ask wait.
    const PATIENCE: Duration = Duration::from_secs(2);
    match tokio::time::timeout(PATIENCE, app.hub.parts().events.end()).await {
        // Not by a write of this request: anybody may ask, as often as they like.
        Ok(Ok(_)) if app.hub.is_unwritable() => Err(ApiProblem::unavailable(
            "the store can be read, but a write of a moment ago failed: see the log",
        )),
        Ok(Ok(_)) => Ok("ready\n"),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ApiProblem::unavailable(
            "the store did not answer within 2 s",
        )),
    }
}

/// Metrics in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "system", security(("bearer" = ["viewer"])),
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(
    _: Viewer,
    State(app): State<App>,
    query: Query,
) -> ApiResult<Response> {
    query.finish()?;
    let text = (app.settings.render_metrics)();
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response())
}

/// The description itself.
pub(crate) fn router() -> Router<App> {
    async fn openapi(State(app): State<App>) -> Response {
        (
            [(header::CONTENT_TYPE, "application/json")],
            app.openapi.clone(),
        )
            .into_response()
    }
    Router::new().route("/openapi.json", get(openapi))
}

/// The page to browse the description; works offline.
pub(crate) fn docs() -> Router<App> {
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    let config = Config::from("/openapi.json")
        .validator_url("none")
        .try_it_out_enabled(true)
        .default_models_expand_depth(0);
    let pages: Router<App> = SwaggerUi::new("/docs").config(config).into();
    pages.layer(axum::middleware::map_response(
        async |mut response: Response| {
            response
                .headers_mut()
                .insert(header::CONTENT_SECURITY_POLICY, POLICY);
            response
        },
    ))
}

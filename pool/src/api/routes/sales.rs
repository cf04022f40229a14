//! Sales of the pool's own coin.

use axum::{Extension, extract::State};
use payouts::export::rules::{desk::Reference, sale::Pick};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{answered, by};
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request,
        sale::{SaleReport, SaleStep},
    },
};

/// The sales of the pool's own coin, in the order of their names.
#[utoipa::path(
    get,
    path = "/api/v1/sales",
    operation_id = "list_sales",
    tag = "sales",
    params(Page),
    responses((status = OK, description = "The sales", body = Listed<SaleReport>))
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<SaleReport>>, Problem> {
    match desk.ask(&caller.actor(), Request::Sales).await? {
        Outcome::Sales(mut sales) => {
            sales.sort_by(|one, other| one.sale.cmp(&other.sale));
            Ok(axum::Json(Listed::of_all(sales, &page, |sale| sale.sale.clone())?))
        }
        other => Err(super::unexpected(&other)),
    }
}

/// Takes a step of a sale. On record is the token's label.
#[utoipa::path(
    post,
    path = "/api/v1/sales/{sale}/steps",
    operation_id = "step_sale",
    tag = "sales",
    params(("sale" = String, Path, description = "Its name")),
    request_body = SaleStep,
    responses((status = OK, description = "The sale", body = SaleReport))
)]
pub(super) async fn step(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(sale): Path<String>,
    Json(step): Json<SaleStep>,
) -> Result<axum::Json<SaleReport>, Problem> {
    let request = Request::Sale { sale: reference(&sale)?, step: Box::new(step), by: by(&caller)? };
    sold(desk.ask(&caller.actor(), request).await?)
}

/// What to deliver.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deliver {
    /// The coins to sell, where the country profile wants them to be named: `lot` and `sat` of each.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    lots: Vec<Pick>,
}

/// Makes the payout that delivers a sale.
#[utoipa::path(
    post,
    path = "/api/v1/sales/{sale}/delivery",
    operation_id = "deliver_sale",
    tag = "sales",
    params(("sale" = String, Path, description = "Its name")),
    request_body = Deliver,
    responses((status = OK, description = "The sale", body = SaleReport))
)]
pub(super) async fn deliver(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(sale): Path<String>,
    Json(Deliver { lots }): Json<Deliver>,
) -> Result<axum::Json<SaleReport>, Problem> {
    let request = Request::DeliverSale { sale: reference(&sale)?, lots, by: by(&caller)? };
    sold(desk.ask(&caller.actor(), request).await?)
}

fn sold(outcome: Outcome) -> Result<axum::Json<SaleReport>, Problem> {
    answered!(outcome, Outcome::Sale).map(|axum::Json(sale)| axum::Json(*sale))
}

fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|error| Problem::invalid(format!("{text:?}: {error}")))
}

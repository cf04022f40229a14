//! Whole tables, row by row, whatever is in them: for copies.

use sqlx::{QueryBuilder, Row as _, query_builder::Separated};

use super::{Connection, Db};
use crate::store::{
    StoreError,
    copy::{Kind, Table, Value},
};

/// Returns the rows after the one whose key is given, in the order of the key.
pub(in crate::store) async fn page(
    connection: &mut Connection,
    table: &Table,
    after: Option<&[Value]>,
    limit: u32,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let key = table.key_names();
    let mut select = QueryBuilder::<Db>::new(format!("SELECT {} FROM {}", table.column_names(), table.name));
    if let Some(after) = after {
        select.push(format!(" WHERE ({key}) > ("));
        let mut values = select.separated(", ");
        for value in after {
            bind(&mut values, value);
        }
        select.push(")");
    }
    select.push(format!(" ORDER BY {key} LIMIT {limit}"));
    let mut page = Vec::new();
    for row in select.build().fetch_all(connection).await? {
        let read = |(index, column): (usize, &(String, Kind))| match column.1 {
            Kind::Integer => row.try_get::<Option<i64>, _>(index).map(|value| value.map(Value::Integer)),
            Kind::Text => row.try_get::<Option<String>, _>(index).map(|value| value.map(Value::Text)),
            Kind::Bytes => row.try_get::<Option<Vec<u8>>, _>(index).map(|value| value.map(Value::Bytes)),
        };
        let values = table.columns.iter().enumerate().map(read);
        let values = values.map(|value| value.map(|value| value.unwrap_or(Value::Null)));
        page.push(values.collect::<Result<_, _>>()?);
    }
    Ok(page)
}

/// Adds a value to a list in a statement.
pub(in crate::store) fn bind(values: &mut Separated<'_, Db, &'static str>, value: &Value) {
    match value {
        // Its type follows from the column it goes to.
        Value::Null => values.push("NULL"),
        Value::Integer(number) => values.push_bind(*number),
        Value::Text(text) => values.push_bind(text.clone()),
        Value::Bytes(bytes) => values.push_bind(bytes.clone()),
    };
}

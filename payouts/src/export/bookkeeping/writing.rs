//! Writes reports: which files a profile's reports are, in their order, the manifest last.

use std::io::{self, Write};

use super::gather::Reports;
use crate::export::{
    report::{
        ReportError, blocked_property,
        carf::{self, Gap},
        manifest::{MANIFEST_FILE, Manifest, ReportSet},
        model::ReportHead,
        reconciliation, register, sales, schema, screening_log, travel_rule,
    },
    rules::profile::ReportName,
};

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The manifest.
    pub manifest: Manifest,
    /// What is not equal that must be, in words; nothing if all reconciles.
    pub faults: Vec<String>,
    /// What drafts lack.
    pub gaps: Vec<Gap>,
}

/// Opens the files of a set by their names.
type Open<'o> = dyn FnMut(&str) -> io::Result<Box<dyn Write>> + 'o;

impl Reports {
    /// Writes all files that the profile asks for, the lots, the schemas and the reconciliation, and the manifest last.
    /// A statement that does not add up is not written; the faults name it.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or something cannot be told.
    pub fn write(self, open: &mut Open<'_>) -> Result<Written, ReportError> {
        let Self { head, names, register, statements, screenings, blocked, sales, carf, travel_rule, figures, .. } =
            self;
        let mut set = Set { set: ReportSet::new(head.clone()), open };
        let mut faults = Vec::new();
        let mut gaps = Vec::new();
        if names.contains(&ReportName::Register) {
            set.file(&register::register_file(&head), |head, out| register::write_register(head, &register, out))?;
        }
        set.file(&register::register_lots_file(&head), |head, out| {
            register::write_register_lots(head, &register, out)
        })?;
        let statements = if names.contains(&ReportName::Statement) { statements } else { Vec::new() };
        for statement in statements {
            match statement.balanced() {
                Err(unbalanced) => faults.push(unbalanced.to_string()),
                Ok(statement) => {
                    set.file(&statement.file(&head, "csv"), |head, out| statement.write_csv(head, out))?;
                    set.file(&statement.file(&head, "json"), |head, out| statement.write_json(head, out))?;
                    set.file(&statement.file(&head, "html"), |head, out| statement.write_html(head, out))?;
                }
            }
        }
        if names.contains(&ReportName::ExportSales) {
            set.file(&sales::export_sales_file(&head), |head, out| sales::write_export_sales(head, &sales, out))?;
        }
        if names.contains(&ReportName::ScreeningLog) {
            set.file(screening_log::SCREENING_LOG_FILE, |head, out| {
                screening_log::write_screening_log(head, &screenings, out)
            })?;
        }
        if names.contains(&ReportName::BlockedProperty) {
            set.file(blocked_property::BLOCKED_PROPERTY_FILE, |head, out| {
                blocked_property::write_blocked_property(head, &blocked, out)
            })?;
        }
        if let Some(draft) = &carf {
            gaps.extend(set.file(&carf::carf_file(draft), |head, out| draft.write(head, out))?);
        }
        if let Some((pool, transfers)) = &travel_rule {
            set.file(travel_rule::TRAVEL_RULE_FILE, |head, out| {
                travel_rule::write_travel_rule(head, pool, transfers, out)
            })?;
        }
        set.file(schema::MARKDOWN_FILE, |_, out| schema::write_markdown(out))?;
        set.file(schema::JSON_FILE, |_, out| schema::write_json(out))?;
        let reconciliation = figures.reconcile();
        set.file(reconciliation::RECONCILIATION_FILE, |head, out| reconciliation.write(head, out))?;
        let unequal = reconciliation.equalities.iter().filter(|equality| equality.difference != 0);
        faults.extend(unequal.map(|equality| {
            format!("{} ({}): the difference is {} sat", equality.name, equality.scope, equality.difference)
        }));
        Ok(Written { manifest: set.finish()?, faults, gaps })
    }
}

struct Set<'s, 'o> {
    set: ReportSet,
    open: &'s mut Open<'o>,
}

impl Set<'_, '_> {
    fn file<T>(
        &mut self,
        name: &str,
        write: impl FnOnce(&ReportHead, &mut dyn Write) -> Result<T, ReportError>,
    ) -> Result<T, ReportError> {
        let mut out = (self.open)(name)?;
        self.set.write(name, &mut *out, write)
    }

    fn finish(self) -> Result<Manifest, ReportError> {
        let mut out = (self.open)(MANIFEST_FILE)?;
        self.set.finish(&mut *out)
    }
}

//! The handler: follows the writing, reports how far it is, and stops it.

use std::time::Duration;

use anyqueue::{JobContext, JobError};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Instant;

use super::csv_file::{self, Written};
use super::{Export, ExportCsv, ExportFolder};
use crate::orders::Orders;

/// The steps of an export: counting, writing, finishing.
pub(crate) const STEPS: u32 = 3;

/// Rows between two looks at the clock where there is no pace.
const BATCH: u64 = 2_000;

/// What the handler needs.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) orders: Orders,
    pub(crate) folder: ExportFolder,
    /// Rows a second; 0 for as many as it can.
    pub(crate) pace: u32,
}

/// Exports a view. Safe to repeat: the file appears under the job's id when it
/// is complete, and a later attempt writes it anew.
pub(crate) async fn export_csv(
    job: ExportCsv,
    ctx: JobContext<Exporter>,
) -> Result<Export, JobError> {
    ctx.progress(0).step(1).message("Counting rows").await?;
    let (tell, mut written) = mpsc::channel(1);
    let writing = {
        let ctx = ctx.clone();
        tokio::task::spawn_blocking(move || {
            let exporter = ctx.state();
            let batch = exporter.batch();
            csv_file::write(
                &exporter.orders,
                &exporter.folder,
                ctx.id(),
                job,
                batch,
                &tell,
            )
        })
    };
    let followed = follow(&ctx, &mut written).await;
    // Stops the writing where it is not done. Its file is gone before the job
    // reads as cancelled.
    drop(written);
    let export = writing.await?;
    followed?;
    Ok(export?)
}

async fn follow(
    ctx: &JobContext<Exporter>,
    written: &mut Receiver<Written>,
) -> Result<(), JobError> {
    let pace = f64::from(ctx.state().pace);
    let begun = Instant::now();
    while let Some(Written { rows, total }) = written.recv().await {
        let percent = u8::try_from(rows * 100 / total.max(1)).unwrap_or(100);
        let (so_far, all) = (grouped(rows), grouped(total));
        let report = if rows < total {
            let message = format!("{so_far} of {all} rows");
            ctx.progress(percent).step(2).message(message)
        } else {
            let message = format!("Finishing the file of {all} rows");
            ctx.progress(99).step(STEPS).message(message)
        };
        report.await?;
        if pace > 0.0 {
            let due = begun + Duration::from_secs_f64(rows as f64 / pace);
            tokio::time::sleep_until(due).await;
        }
    }
    Ok(())
}

impl Exporter {
    /// Rows between two reports: a tenth of a second's.
    fn batch(&self) -> u64 {
        match self.pace {
            0 => BATCH,
            pace => u64::from(pace / 10).max(1),
        }
    }
}

/// A number with a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1_200, 1_234_567].map(grouped),
            ["0", "999", "1,200", "1,234,567"]
        );
    }
}

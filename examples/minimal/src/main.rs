use anyqueue::{Client, Job, JobContext, JobError, Worker};

#[derive(serde::Serialize, serde::Deserialize)]
struct ExportCsv(u32);

impl Job for ExportCsv {
    const KIND: &'static str = "export_csv";
    type Output = String;
}

async fn export_csv(job: ExportCsv, ctx: JobContext) -> Result<String, JobError> {
    for percent in 0..=100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // the work
        ctx.progress(percent).await?;
    }
    Ok(format!("orders.csv with {} rows", job.0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("sqlite://jobs.db").await?;
    let _worker = Worker::new(&client).register(export_csv).start()?;
    let handle = client.enqueue(ExportCsv(3_000)).await?;
    let mut changes = handle.watch();
    while let Some(job) = changes.next().await.transpose()? {
        println!("{}%", job.progress.values.percent.unwrap_or(0));
    }
    Ok(println!("{}", handle.wait().await?))
}

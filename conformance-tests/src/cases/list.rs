//! Lists: order, pages, filters.

use anyqueue_core::{Filter, JobId, JobRecord, NewJob, Page, State};

use crate::asserts::{Failure, Verdict, holds, same, same_set};
use crate::case::cases;
use crate::handle::{Handle, following};
use crate::samples::{FAR, complete, delayed, fail, full, job, jobs, kind, queue, tag};
use crate::store::Store;

cases! { "list";
    law list_order "by id, highest (newest) first; `next` is there while more may follow" {
        newest_first [List];
        pages_hold_every_job_once [List];
        a_page_of_exactly_all [List];
        an_empty_store_lists_nothing [List];
        records_are_those_of_get [List];
        behind_a_job_that_is_gone [List, Purge];
        of_several_queues_merges_by_id [List];
    }
    law list_filter "exactly the jobs that match every given part of the filter" {
        by_each_state [List];
        by_several_states [List];
        by_queue [List];
        by_kind [List];
        by_tags_all_of_them [List];
        by_time_of_enqueue [List];
        by_all_parts_at_once [List];
        with_pages [List];
    }
    law list_stable "while jobs are added, following `next` shows every job that was there from the start exactly once" {
        while_jobs_are_added [List];
        while_jobs_change_state [List];
    }
}

fn ids(records: &[JobRecord]) -> Vec<JobId> {
    records.iter().map(|record| record.id).collect()
}

fn newest_of(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.sort_by(|a, b| b.cmp(a));
    ids
}

/// A store with jobs of three queues, two kinds, several tags and all states.
async fn varied(a: &Handle) -> Result<Vec<JobId>, Failure> {
    let mut all = vec![
        a.run("a", complete()).await?.id,
        a.run("b", fail()).await?.id,
    ];
    all.push(a.put_and_take("a").await?.token.id);
    let mut batch = vec![delayed("a", FAR), job("c"), full("b"), full("c")];
    batch.push(NewJob {
        tags: vec![tag("mine")],
        ..job("a")
    });
    batch.push(NewJob {
        tags: vec![tag("mine"), tag("late")],
        ..full("a")
    });
    batch.push(NewJob {
        kind: kind("other"),
        ..job("b")
    });
    all.extend(a.put_all(&batch).await?);
    Ok(all)
}

/// The list shows exactly the jobs whose records match.
async fn lists_what_matches(a: &Handle, all: &[JobId], filter: &Filter) -> Verdict {
    let records = a.records(all).await?;
    let matching = records
        .iter()
        .filter(|record| filter.matches(record))
        .map(|r| r.id);
    let expected = newest_of(matching.collect());
    holds("the case has a job to find and one to leave out", {
        !expected.is_empty() && expected.len() < all.len()
    })?;
    let found = ids(&a.list_all(filter, 100).await?);
    same_set(
        &format!("the jobs listed by {filter:?}"),
        found.clone(),
        expected.clone(),
    )?;
    same("their order", found, expected)
}

async fn newest_first(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut batch = jobs("q", 10);
    batch.swap(0, 7);
    let expected = newest_of(a.put_all(&batch).await?);
    same(
        "the listed jobs",
        ids(&a.list_all(&Filter::any(), 100).await?),
        expected,
    )
}

async fn pages_hold_every_job_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let expected = newest_of(a.put_all(&jobs("q", 23)).await?);
    for limit in [1, 5, 7, 22, 23, 24] {
        let found = ids(&a.list_all(&Filter::any(), limit).await?);
        same(
            &format!("the jobs on pages of {limit}"),
            found,
            expected.clone(),
        )?;
    }
    Ok(())
}

async fn a_page_of_exactly_all(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = a.put_all(&jobs("q", 5)).await?;
    let page = a.list(&Filter::any(), &Page::first(5)).await?;
    same("the jobs of the page", ids(&page.jobs), newest_of(all))?;
    // `next` may be there: more *may* follow. Then the next page is empty.
    if let Some(next) = page.next {
        let rest = a.list(&Filter::any(), &Page::first(5).after(next)).await?;
        same("the jobs of the page after", rest.jobs, vec![])?;
        same("the page after that", rest.next, None)?;
    }
    let page = a.list(&Filter::any(), &Page::first(4)).await?;
    holds(
        "a page that leaves one out has a next one",
        page.next.is_some(),
    )
}

async fn an_empty_store_lists_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let page = a.list(&Filter::any(), &Page::default()).await?;
    same("the jobs", page.jobs, vec![])?;
    same("the next page", page.next, None)
}

async fn records_are_those_of_get(store: Store) -> Verdict {
    let a = store.open().await?;
    varied(&a).await?;
    let listed = a.list_all(&Filter::any(), 4).await?;
    same("the records", a.records(&ids(&listed)).await?, listed)
}

async fn behind_a_job_that_is_gone(store: Store) -> Verdict {
    use anyqueue_core::{Cursor, Retention};
    let a = store.open().await?;
    let older = a.put_all(&jobs("q", 3)).await?;
    let _ = a.claim_many("q", 9).await?;
    let gone = a.run("q", complete()).await?.id;
    a.put(&job("q")).await?;
    crate::asserts::eventually("the job is purged", async || {
        a.maintain_with(100, Retention::all(std::time::Duration::ZERO))
            .await?;
        Ok(a.find(gone).await?.is_none().then_some(()))
    })
    .await?;
    let page = Page::first(10).after(Cursor::behind(gone));
    let found = ids(&a.list(&Filter::any(), &page).await?.jobs);
    same("the jobs behind it", found, newest_of(older))
}

async fn of_several_queues_merges_by_id(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut all = Vec::new();
    for n in 0..12 {
        all.push(a.put(&job(["a", "b", "c"][n % 3])).await?);
    }
    same(
        "the listed jobs",
        ids(&a.list_all(&Filter::any(), 5).await?),
        newest_of(all),
    )
}

async fn by_each_state(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut all = varied(&a).await?;
    if a.capabilities().has(anyqueue_core::Capability::Cancel) {
        let id = a.put(&job("c")).await?;
        a.cancel_one(id).await?;
        all.push(id);
        lists_what_matches(&a, &all, &Filter::any().state(State::Cancelled)).await?;
    }
    use State::{Completed, Failed, Ready, Running, Scheduled};
    for state in [Scheduled, Ready, Running, Completed, Failed] {
        lists_what_matches(&a, &all, &Filter::any().state(state)).await?;
    }
    Ok(())
}

async fn by_several_states(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = varied(&a).await?;
    let ended = Filter::any().state(State::Completed).state(State::Failed);
    lists_what_matches(&a, &all, &ended).await?;
    let open = Filter::any()
        .state(State::Ready)
        .state(State::Scheduled)
        .state(State::Running);
    lists_what_matches(&a, &all, &open).await
}

async fn by_queue(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = varied(&a).await?;
    for name in ["a", "b", "c"] {
        lists_what_matches(&a, &all, &Filter::any().queue(queue(name))).await?;
    }
    same(
        "an unknown queue",
        a.list_all(&Filter::any().queue(queue("x")), 9).await?,
        vec![],
    )
}

async fn by_kind(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = varied(&a).await?;
    for name in ["work", "other", "export_csv"] {
        lists_what_matches(&a, &all, &Filter::any().kind(kind(name))).await?;
    }
    same(
        "an unknown kind",
        a.list_all(&Filter::any().kind(kind("x")), 9).await?,
        vec![],
    )
}

async fn by_tags_all_of_them(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = varied(&a).await?;
    for name in ["mine", "late", "nightly"] {
        lists_what_matches(&a, &all, &Filter::any().tag(tag(name))).await?;
    }
    let both = Filter::any().tag(tag("mine")).tag(tag("late"));
    lists_what_matches(&a, &all, &both).await?;
    let never = Filter::any().tag(tag("nightly")).tag(tag("late"));
    same(
        "tags of different jobs",
        a.list_all(&never, 9).await?,
        vec![],
    )
}

async fn by_time_of_enqueue(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut all = Vec::new();
    for _ in 0..5 {
        let id = a.put(&job("q")).await?;
        all.push(id);
        a.pass(a.record(id).await?.created_at).await?;
    }
    let (second, fourth) = (
        a.record(all[1]).await?.created_at,
        a.record(all[3]).await?.created_at,
    );
    let mine = Filter::any().queue(queue("q"));
    for filter in [
        mine.clone().created_from(second),
        mine.clone().created_before(fourth),
        mine.created_from(second).created_before(fourth),
    ] {
        lists_what_matches(&a, &all, &filter).await?;
    }
    Ok(())
}

async fn by_all_parts_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = varied(&a).await?;
    let last = a.record(all[8]).await?;
    let filter = Filter::any()
        .state(State::Ready)
        .state(State::Scheduled)
        .queue(queue("a"))
        .kind(kind("export_csv"))
        .tag(tag("mine"))
        .created_from(last.created_at)
        .created_before(last.created_at.after(FAR));
    lists_what_matches(&a, &all, &filter).await?;
    same(
        "the job found",
        ids(&a.list_all(&filter, 9).await?),
        vec![last.id],
    )
}

async fn with_pages(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut expected = Vec::new();
    for n in 0..30 {
        let name = if n % 3 == 0 { "mine" } else { "other" };
        let id = a
            .put(&NewJob {
                tags: vec![tag(name)],
                ..job("q")
            })
            .await?;
        expected.extend((n % 3 == 0).then_some(id));
    }
    let filter = Filter::any().tag(tag("mine")).state(State::Ready);
    for limit in [1, 3, 10] {
        let found = ids(&a.list_all(&filter, limit).await?);
        same("the jobs on all pages", found, newest_of(expected.clone()))?;
    }
    Ok(())
}

async fn while_jobs_are_added(store: Store) -> Verdict {
    let a = store.open().await?;
    let start = a.put_all(&jobs("q", 20)).await?;
    let mut seen = Vec::new();
    let mut page = Page::first(3);
    loop {
        let listing = a.list(&Filter::any(), &page).await?;
        seen.extend(ids(&listing.jobs));
        a.put_all(&jobs("q", 4)).await?;
        match following(page, listing.next)? {
            Some(next) => page = next,
            None => break,
        }
    }
    same("the jobs of the start", seen, newest_of(start))
}

async fn while_jobs_change_state(store: Store) -> Verdict {
    let a = store.open().await?;
    let start = a.put_all(&jobs("q", 20)).await?;
    let mut seen = Vec::new();
    let mut page = Page::first(3);
    loop {
        let listing = a.list(&Filter::any(), &page).await?;
        seen.extend(ids(&listing.jobs));
        for job in a.claim_many("q", 3).await? {
            a.accepted(job.token, complete()).await?;
        }
        match following(page, listing.next)? {
            Some(next) => page = next,
            None => break,
        }
    }
    same("every job once", seen, newest_of(start))
}

//! What goes wrong with a server and between us and it, on servers of this
//! program's own.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Trial};

mod common;
mod faults_of;

use faults_of::{clusters, connections, kills, settings, tickets};

/// Set in a process that a case starts: what it is to do.
const CHILD: &str = "ANYQUEUE_TEST_REDIS_CHILD";

/// Runs this program again, to do what the name says with the URL.
pub(crate) fn child(what: &str, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(CHILD, format!("{what} {url}"));
    command
}

macro_rules! cases {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(case(stringify!($name), || runtime().block_on(Box::pin($module::$name())))),*]
    };
}

fn case(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match common::missing() {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => {
            run();
            Ok(Completion::Completed)
        }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn main() -> ExitCode {
    if let Ok(child) = std::env::var(CHILD) {
        let (what, url) = child.split_once(' ').expect("what, and a URL");
        runtime().block_on(async {
            match what {
                "die-with-a-ticket" => tickets::die_with_a_ticket(url).await,
                "trust" => connections::trust(url).await,
                _ => panic!("no child does {what}"),
            }
        });
        return ExitCode::SUCCESS;
    }
    let trials = cases![
        kills::twenty_kills_lose_no_acknowledged_job_and_double_none,
        kills::a_zombie_is_refused_after_a_restart_too,
        tickets::a_worker_killed_with_a_ticket_loses_no_job,
        tickets::wake_lists_and_inboxes_stay_short,
        connections::dropped_calls_give_nobody_a_wrong_answer,
        connections::scripts_are_loaded_again,
        connections::an_idle_handle_comes_back_after_a_restart,
        connections::waits_come_back_after_a_restart,
        connections::tls_verifies_the_certificate,
        connections::a_wrong_password_is_denied_and_not_shown,
        clusters::a_node_by_a_url_for_one_server_is_refused,
        clusters::one_server_by_a_url_for_a_cluster_is_refused,
        clusters::any_one_node_leads_to_all,
        clusters::a_forgotten_shard_is_known_again,
        clusters::nothing_is_done_by_halves_while_a_slot_moves,
        settings::durability_is_that_of_the_live_settings,
        settings::an_evicting_policy_is_refused,
        settings::a_newer_store_is_refused,
        settings::a_user_with_few_rights_is_enough,
        settings::a_full_memory_refuses_jobs_and_lets_work_go_on,
        settings::jobs_join_the_applications_transaction,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

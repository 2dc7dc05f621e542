//! Who works on runs, one at a time. Never waits for a lease longer than a moment.

use super::{LONG, entering, event, events, get, kinds, lead, new_run};
use crate::site::Site;
use std::time::Duration;
use strata_store::{Change, Error, Fence, RunState};

const NONE: Duration = Duration::ZERO;

fn is_fenced(e: &Error, epoch: u64) -> bool {
    matches!(e, Error::Fenced { name, epoch: said } if name == "coordinator" && *said == epoch)
}

pub(crate) async fn one_holder_at_a_time(site: &Site) {
    let lease = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    assert_eq!((lease.name.as_str(), lease.holder.as_str(), lease.epoch), ("coordinator", "one", 1));
    assert_eq!(site.b.acquire("coordinator", "two", LONG).await.unwrap(), None);
    site.b.check(&lease.fence()).await.unwrap();
    // Its holder may ask again: the epoch stays, the end moves.
    let again = site.b.acquire("coordinator", "one", LONG * 2).await.unwrap().unwrap();
    assert_eq!(again.epoch, 1);
    assert!(again.expires_at > lease.expires_at);
    // Leases of other names have nothing to do with it.
    assert_eq!(site.b.acquire("gc", "two", LONG).await.unwrap().unwrap().epoch, 1);
    assert!(is_fenced(&site.a.check(&Fence { name: "coordinator".into(), epoch: 2 }).await.unwrap_err(), 2));
    assert!(matches!(site.a.check(&Fence { name: "nobody's".into(), epoch: 1 }).await.unwrap_err(), Error::Fenced { .. }));
}

pub(crate) async fn of_many_at_once_one_gets_it(site: &Site) {
    for round in 1..=5 {
        let asking = (0..30).map(|i| {
            let store = site.store(i);
            tokio::spawn(async move { store.acquire("coordinator", &format!("{round}-{i}"), LONG).await.unwrap() })
        });
        let mut leases = Vec::new();
        for answer in asking.collect::<Vec<_>>() {
            leases.extend(answer.await.unwrap());
        }
        assert_eq!((leases.len(), leases[0].epoch), (1, round));
        site.a.release(&leases[0]).await.unwrap();
    }
}

pub(crate) async fn renewing(site: &Site) {
    let lease = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    let longer = site.b.renew(&lease, LONG * 2).await.unwrap();
    assert_eq!((longer.epoch, longer.holder.as_str()), (1, "one"));
    assert!(longer.expires_at > lease.expires_at);
    let ended = site.a.renew(&longer, NONE).await.unwrap();
    assert!(is_fenced(&site.a.renew(&ended, LONG).await.unwrap_err(), 1));
    let taken = site.b.acquire("coordinator", "two", LONG).await.unwrap().unwrap();
    assert!(is_fenced(&site.a.renew(&lease, LONG).await.unwrap_err(), 1));
    assert_eq!(site.a.renew(&taken, LONG).await.unwrap().epoch, 2);
}

pub(crate) async fn releasing(site: &Site) {
    let first = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    site.a.release(&first).await.unwrap();
    assert!(is_fenced(&site.a.check(&first.fence()).await.unwrap_err(), 1));
    assert!(is_fenced(&site.a.renew(&first, LONG).await.unwrap_err(), 1));
    // Given up is given up: even the same holder begins anew.
    let second = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    assert_eq!(second.epoch, 2);
    site.a.release(&first).await.unwrap();
    site.a.check(&second.fence()).await.unwrap();
    site.b.release(&second).await.unwrap();
    assert_eq!(site.b.acquire("coordinator", "two", LONG).await.unwrap().unwrap().epoch, 3);
}

pub(crate) async fn a_fence_of_an_earlier_epoch_is_refused(site: &Site) {
    site.a.create(new_run("r1")).await.unwrap();
    let old = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    site.a.append(&old.fence(), "r1", entering(RunState::Running)).await.unwrap();
    site.a.renew(&old, NONE).await.unwrap();
    let new = site.b.acquire("coordinator", "two", LONG).await.unwrap().unwrap();
    assert!(new.epoch > old.epoch);
    let before = get(&*site.a, "r1").await;
    let e = site.a.append(&old.fence(), "r1", entering(RunState::Succeeded)).await.unwrap_err();
    assert!(is_fenced(&e, old.epoch), "{e}");
    assert_eq!(get(&*site.b, "r1").await, before);
    site.b.append(&new.fence(), "r1", entering(RunState::Succeeded)).await.unwrap();
    // Fenced comes before anything else is said about the run.
    assert!(is_fenced(&site.a.append(&old.fence(), "r0", events(1)).await.unwrap_err(), old.epoch));
}

pub(crate) async fn no_write_of_the_old_leader_comes_after_a_takeover(site: &Site) {
    for round in 0..5 {
        let run_id = format!("r{round}");
        site.a.create(new_run(&run_id)).await.unwrap();
        let old = site.a.acquire("coordinator", &format!("old-{round}"), LONG).await.unwrap().unwrap();
        let writers = (0..8).map(|i| {
            let (store, fence, run_id) = (site.store(i), old.fence(), run_id.clone());
            tokio::spawn(async move {
                let mut written = 0;
                loop {
                    match store.append(&fence, &run_id, Change { events: vec![event("old")], ..Change::default() }).await {
                        Ok(_) => written += 1,
                        Err(Error::Fenced { .. }) => return written,
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        site.a.renew(&old, Duration::from_millis(80)).await.unwrap();
        let new = loop {
            if let Some(lease) = site.b.acquire("coordinator", &format!("new-{round}"), LONG).await.unwrap() {
                break lease;
            }
        };
        site.b.append(&new.fence(), &run_id, Change { events: vec![event("new")], ..Change::default() }).await.unwrap();
        let mut written = 0;
        for writer in writers {
            written += writer.await.unwrap();
        }
        let kinds = kinds(&*site.a, &run_id).await;
        assert_eq!(kinds.last().unwrap(), "new");
        assert_eq!(kinds.iter().filter(|kind| *kind == "old").count(), written);
        site.b.release(&new).await.unwrap();
    }
}

pub(crate) async fn a_lease_that_ended_is_refused(site: &Site) {
    site.a.create(new_run("r1")).await.unwrap();
    let ended = site.a.acquire("coordinator", "one", NONE).await.unwrap().unwrap();
    // Nobody took it over, yet it does not count.
    assert!(is_fenced(&site.a.append(&ended.fence(), "r1", events(1)).await.unwrap_err(), 1));
    assert!(is_fenced(&site.a.check(&ended.fence()).await.unwrap_err(), 1));
    assert_eq!(kinds(&*site.a, "r1").await, ["created"]);
    // Its holder comes back before anybody else: nobody wrote in between, so the epoch stays.
    let back = site.a.acquire("coordinator", "one", LONG).await.unwrap().unwrap();
    assert_eq!(back.epoch, 1);
    site.a.append(&back.fence(), "r1", events(1)).await.unwrap();
}

pub(crate) async fn leases_end_by_the_clock(site: &Site) {
    site.a.create(new_run("r1")).await.unwrap();
    let lease = site.a.acquire("coordinator", "one", Duration::from_millis(400)).await.unwrap().unwrap();
    site.a.append(&lease.fence(), "r1", events(1)).await.unwrap();
    assert_eq!(site.b.acquire("coordinator", "two", LONG).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(is_fenced(&site.a.append(&lease.fence(), "r1", events(1)).await.unwrap_err(), 1));
    assert_eq!(site.b.acquire("coordinator", "two", LONG).await.unwrap().unwrap().epoch, 2);
}

pub(crate) async fn bad_names_and_times_are_refused(site: &Site) {
    for (name, holder, ttl) in
        [("", "one", LONG), ("coordinator", "", LONG), ("a\0b", "one", LONG), ("coordinator", "one", Duration::MAX)]
    {
        assert!(matches!(site.a.acquire(name, holder, ttl).await.unwrap_err(), Error::Invalid(_)));
    }
    assert_eq!(lead(&*site.a).await.epoch, 1);
}

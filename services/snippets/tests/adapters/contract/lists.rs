use super::World;
use crate::sample;
use ListOrder::{MostViewed, Newest};
use Visibility::{Private, Public, Unlisted};
use chrono::{DateTime, TimeDelta, Utc};
use snippets::{
    domain::{
        AccountId, Body, Language, ListOrder, ListScope, Listed, NewSnippet, SnippetId, SnippetList,
        SnippetPatch, Tag, Tags, Tier, Title, Version, Visibility, now,
    },
    ports::CopiedViews,
};
use std::{collections::HashSet, time::Duration};

const ALL: usize = 1_000;

fn public(order: ListOrder) -> SnippetList {
    SnippetList { scope: ListScope::Public, language: Language::default(), tag: None, order }
}

fn own(owner: AccountId, visibility: Option<Visibility>) -> SnippetList {
    SnippetList { scope: ListScope::Own { owner, visibility }, ..public(Newest) }
}

fn of(list: &SnippetList, language: &str, tag: &str) -> SnippetList {
    let tag = (!tag.is_empty()).then(|| Tag::parse("tag", tag.into()).unwrap());
    SnippetList { language: Language::parse(language).unwrap(), tag, ..list.clone() }
}

fn tags(tags: &[&str]) -> Tags {
    Tags::parse(tags.iter().map(ToString::to_string).collect()).unwrap()
}

struct Sample {
    language: &'static str,
    tags: &'static [&'static str],
    visibility: Visibility,
    owner: Option<AccountId>,
}

impl Default for Sample {
    fn default() -> Self {
        Self { language: "", tags: &[], visibility: Public, owner: None }
    }
}

async fn insert_at(world: &impl World, sample: Sample, create_time: DateTime<Utc>) -> SnippetId {
    let Sample { language, tags: texts, visibility, owner } = sample;
    let new = NewSnippet {
        title: Title::default(),
        language: Language::parse(language).unwrap(),
        body: Body::parse("x").unwrap(),
        tags: tags(texts),
        visibility,
        owner,
        expire_time: None,
        max_views: None,
    };
    let snippet = new.with_id(SnippetId::generate(), create_time);
    world.snippets().insert(&snippet, None).await.unwrap();
    snippet.metadata.id
}

/// Made one after the other.
async fn insert_all<const N: usize>(world: &impl World, samples: [Sample; N]) -> [SnippetId; N] {
    let mut ids = Vec::new();
    for (seconds, sample) in (0..).zip(samples) {
        ids.push(insert_at(world, sample, now() + TimeDelta::seconds(seconds)).await);
    }
    ids.try_into().unwrap()
}

async fn account(world: &impl World) -> AccountId {
    let account = sample::account(Tier::Free);
    world.accounts().create_account(&account).await.unwrap();
    account.id
}

async fn list(world: &impl World, list: &SnippetList) -> Vec<SnippetId> {
    let listed = world.lists().page(list, None, ALL).await.unwrap();
    listed.iter().map(|listed| listed.metadata.id).collect()
}

/// All pages of a list, with something done after each.
async fn pages(
    world: &impl World,
    list: &SnippetList,
    size: usize,
    mut between: impl AsyncFnMut(),
) -> Vec<SnippetId> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world.lists().page(list, after, size).await.unwrap();
        assert!(page.len() <= size);
        seen.extend(page.iter().map(|listed| listed.metadata.id));
        after = page.last().map(Listed::position);
        if page.len() < size {
            return seen;
        }
        between().await;
    }
}

async fn copy_views(world: &impl World) {
    let copy = async || world.lists().copy_views(Duration::ZERO).await.unwrap() == CopiedViews::All;
    stack::until("the views are copied", Duration::from_secs(10), copy).await.unwrap();
}

pub async fn shows_what_is_known_but_the_body(world: &impl World) {
    let owner = account(world).await;
    let snippet = sample::snippet_of(owner, Public);
    world.snippets().insert(&snippet, None).await.unwrap();
    for list in [public(Newest), public(MostViewed), own(owner, None)] {
        let listed = world.lists().page(&list, None, ALL).await.unwrap();
        assert_eq!(listed, [Listed { metadata: snippet.metadata.clone(), views: 0 }]);
    }
}

pub async fn everyones_are_the_public_ones_and_ones_own_are_all(world: &impl World) {
    let [owner, other] = [account(world).await, account(world).await];
    let sample = |visibility, owner| Sample { visibility, owner, ..Sample::default() };
    let [public_, unlisted, private, others, nobodys, _] = insert_all(
        world,
        [
            sample(Public, Some(owner)),
            sample(Unlisted, Some(owner)),
            sample(Private, Some(owner)),
            sample(Public, Some(other)),
            sample(Public, None),
            sample(Unlisted, None),
        ],
    )
    .await;
    assert_eq!(list(world, &public(Newest)).await, [nobodys, others, public_]);
    assert_eq!(list(world, &own(owner, None)).await, [private, unlisted, public_]);
    assert_eq!(list(world, &own(other, None)).await, [others]);
    assert_eq!(list(world, &own(AccountId::generate(), None)).await, []);
    for (visibility, id) in [(Public, public_), (Unlisted, unlisted), (Private, private)] {
        assert_eq!(list(world, &own(owner, Some(visibility))).await, [id]);
        let most_viewed = SnippetList { order: MostViewed, ..own(owner, Some(visibility)) };
        assert_eq!(list(world, &most_viewed).await, [id]);
    }
}

pub async fn filters_by_language_and_tag_exactly(world: &impl World) {
    let account = account(world).await;
    let owner = Some(account);
    let sample = |language, tags| Sample { language, tags, owner, ..Sample::default() };
    let [none, rust, a, rust_a, rust_ab] = insert_all(
        world,
        [
            sample("", &[]),
            sample("rust", &[]),
            sample("", &["a"]),
            sample("rust", &["a"]),
            sample("rust", &["a", "b", "a"]),
        ],
    )
    .await;
    for list_of_all in [public(Newest), public(MostViewed), own(account, None)] {
        for (language, tag, expected) in [
            ("", "", &[rust_ab, rust_a, a, rust, none][..]),
            ("rust", "", &[rust_ab, rust_a, rust]),
            ("", "a", &[rust_ab, rust_a, a]),
            ("", "b", &[rust_ab]),
            ("rust", "a", &[rust_ab, rust_a]),
            ("rust", "b", &[rust_ab]),
            ("Rust", "", &[]),
            ("rus", "", &[]),
            ("", "A", &[]),
            ("", "a ", &[]),
            ("python", "a", &[]),
        ] {
            let found = list(world, &of(&list_of_all, language, tag)).await;
            assert_eq!(found, expected, "{language:?} {tag:?}");
        }
    }
}

pub async fn follows_edits_and_deletions(world: &impl World) {
    let owner = account(world).await;
    let sample = Sample { language: "rust", tags: &["a", "b"], owner: Some(owner), ..Sample::default() };
    let [id, nobodys] = insert_all(world, [sample, Sample::default()]).await;
    world.make_view_tables().await;
    world.count_views(&[(id.as_str(), 7)]).await;
    copy_views(world).await;
    let edit = async |patch| world.snippets().update(&id, &patch, None, now()).await.unwrap();
    let found = async |language, tag| {
        let public = world.lists().page(&of(&public(MostViewed), language, tag), None, ALL).await.unwrap();
        let own = list(world, &of(&own(owner, None), language, tag)).await;
        let public = public.into_iter().find(|listed| listed.metadata.id == id).map(|listed| listed.views);
        (public, own.len())
    };
    let gone = (None, 0);
    edit(SnippetPatch { tags: Some(tags(&["b", "c"])), ..SnippetPatch::default() }).await;
    for (language, tag, expected) in
        [("", "a", gone), ("rust", "a", gone), ("rust", "b", (Some(7), 1)), ("", "c", (Some(7), 1))]
    {
        assert_eq!(found(language, tag).await, expected, "{language:?} {tag:?}");
    }
    edit(SnippetPatch { language: Some(Language::parse("go").unwrap()), ..SnippetPatch::default() }).await;
    for (language, tag, expected) in
        [("rust", "", gone), ("rust", "b", gone), ("go", "", (Some(7), 1)), ("go", "c", (Some(7), 1))]
    {
        assert_eq!(found(language, tag).await, expected, "{language:?} {tag:?}");
    }
    for (visibility, expected) in [(Private, (None, 1)), (Public, (Some(7), 1)), (Unlisted, (None, 1))] {
        edit(SnippetPatch { visibility: Some(visibility), ..SnippetPatch::default() }).await;
        assert_eq!(found("go", "c").await, expected, "{visibility:?}");
    }
    for visibility in [Unlisted, Public] {
        let patch = SnippetPatch { visibility: Some(visibility), ..SnippetPatch::default() };
        world.snippets().update(&nobodys, &patch, None, now()).await.unwrap();
        assert_eq!(list(world, &public(Newest)).await.len(), usize::from(visibility == Public));
    }
    world.snippets().delete(&id, None).await.unwrap();
    assert_eq!(found("", "").await, gone);
    assert_eq!(list(world, &public(Newest)).await, [nobodys]);
}

pub async fn equals_in_time_have_an_order_too(world: &impl World) {
    let time = now();
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(insert_at(world, Sample::default(), time).await);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    for order in [Newest, MostViewed] {
        for size in 1..=8 {
            assert_eq!(pages(world, &public(order), size, async || {}).await, ids, "{order:?} {size}");
        }
    }
}

pub async fn pages_are_whole_whatever_is_written_meanwhile(world: &impl World) {
    let mut stay = HashSet::new();
    let mut leave = Vec::new();
    for hour in 0..60 {
        let id = insert_at(world, Sample::default(), now() - TimeDelta::hours(hour)).await;
        if hour % 3 == 0 {
            leave.push(id);
        } else {
            stay.insert(id);
        }
    }
    // What comes before and after the page is inserted, deleted and edited.
    for size in [1, 7] {
        let mut minute = 0;
        let seen = pages(world, &public(Newest), size, async || {
            minute += 1;
            if minute > 70 {
                return;
            }
            insert_at(world, Sample::default(), now() + TimeDelta::minutes(minute)).await;
            insert_at(world, Sample::default(), now() - TimeDelta::minutes(minute * 50)).await;
            if let Some(id) = leave.pop() {
                world.snippets().delete(&id, None).await.unwrap();
            }
            for id in &stay {
                if minute % 5 == 0 {
                    world.snippets().update(id, &SnippetPatch::default(), None, now()).await.unwrap();
                }
            }
        })
        .await;
        let distinct: HashSet<_> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), seen.len(), "something was shown twice");
        assert!(distinct.is_superset(&stay), "something was missed");
    }
}

pub async fn the_most_viewed_come_first(world: &impl World) {
    let account = account(world).await;
    let owner = Some(account);
    let sample = || Sample { language: "rust", tags: &["a"], owner, ..Sample::default() };
    let [some, none_older, most, none_newer] =
        insert_all(world, [sample(), sample(), sample(), sample()]).await;
    let by_views = |list: SnippetList| SnippetList { order: MostViewed, ..list };
    // Nobody has counted yet.
    copy_views(world).await;
    assert_eq!(list(world, &public(MostViewed)).await, [none_newer, most, none_older, some]);
    world.make_view_tables().await;
    world.count_views(&[(some.as_str(), 1), (most.as_str(), i64::MAX), ("00000000000", 9)]).await;
    copy_views(world).await;
    let expected = [most, some, none_newer, none_older];
    for list_of_all in [public(MostViewed), by_views(own(account, None))] {
        for (language, tag) in [("", ""), ("rust", ""), ("", "a"), ("rust", "a")] {
            assert_eq!(list(world, &of(&list_of_all, language, tag)).await, expected);
            for size in 1..=5 {
                let list = of(&list_of_all, language, tag);
                assert_eq!(pages(world, &list, size, async || {}).await, expected);
            }
        }
    }
    assert_eq!(list(world, &public(Newest)).await, [none_newer, most, none_older, some]);
}

pub async fn views_of_many_snippets_are_copied_in_steps_and_not_before_their_time(world: &impl World) {
    let hour = Duration::from_secs(3600);
    world.make_view_tables().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(insert_at(world, Sample::default(), now()).await);
    }
    let others: Vec<_> = (0..2_500).map(|_| SnippetId::generate()).collect();
    let counted: Vec<_> =
        others.iter().map(|id| (id.as_str(), 1)).chain(ids.iter().map(|id| (id.as_str(), 2))).collect();
    world.count_views(&counted).await;
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(world.lists().copy_views(hour).await.unwrap());
    }
    assert_eq!(steps, [CopiedViews::Some, CopiedViews::Some, CopiedViews::All, CopiedViews::NotDue]);
    let listed = world.lists().page(&public(MostViewed), None, ALL).await.unwrap();
    assert_eq!(listed.iter().map(|listed| listed.views).collect::<Vec<_>>(), [2, 2, 2]);
}

pub async fn what_is_over_is_not_listed(world: &impl World) {
    let snippets = world.snippets();
    let (burnt, left) = (sample::limited(1), sample::limited(2));
    let (expired, lasting) = (sample::expiring(now()), sample::expiring(now() + TimeDelta::hours(1)));
    for snippet in [&burnt, &left, &expired, &lasting] {
        snippets.insert(snippet, None).await.unwrap();
    }
    for limited in [&burnt, &left] {
        assert!(snippets.claim_view(&limited.metadata.id, Version::FIRST).await.unwrap());
    }
    for order in [Newest, MostViewed] {
        let listed: HashSet<_> = list(world, &public(order)).await.into_iter().collect();
        assert_eq!(listed, HashSet::from([left.metadata.id, lasting.metadata.id]));
    }
}

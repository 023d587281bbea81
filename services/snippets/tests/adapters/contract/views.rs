use super::World;
use snippets::domain::SnippetId;
use std::collections::HashMap;

pub async fn nobody_has_counted_before_the_worker_came(world: &impl World) {
    let ids = [SnippetId::generate(), SnippetId::generate()];
    assert_eq!(world.totals().totals(&ids).await.unwrap(), HashMap::new());
    // And it is noticed when it has.
    world.make_view_tables().await;
    world.count_views(&[(ids[0].as_str(), 3)]).await;
    assert_eq!(world.totals().totals(&ids).await.unwrap(), HashMap::from([(ids[0], 3)]));
}

pub async fn reads_what_the_worker_counted(world: &impl World) {
    let [one, two, uncounted, unasked] = [(); 4].map(|()| SnippetId::generate());
    let rows = [(one.as_str(), 1), (two.as_str(), i64::MAX), (unasked.as_str(), 7)];
    world.make_view_tables().await;
    world.count_views(&rows).await;
    let totals = world.totals().totals(&[one, two, uncounted]).await.unwrap();
    assert_eq!(totals, HashMap::from([(one, 1), (two, i64::MAX.unsigned_abs())]));
    assert_eq!(world.totals().totals(&[]).await.unwrap(), HashMap::new());
}

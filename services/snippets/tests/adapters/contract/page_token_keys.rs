use super::World;

pub async fn has_one_key_for_good(world: &impl World) {
    let keys = world.page_token_keys();
    let (first, again) = (keys.page_token_key().await.unwrap(), keys.page_token_key().await.unwrap());
    assert_eq!(first.expose(), again.expose());
}

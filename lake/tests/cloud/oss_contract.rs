//! The contract tests of `object_store` itself.

use object_store::integration;

use crate::bucket::fresh;

#[tokio::test]
async fn put_get_delete_list() {
    let (_fake, oss) = fresh();
    integration::put_get_delete_list(&oss).await;
}

#[tokio::test]
async fn get_opts() {
    let (_fake, oss) = fresh();
    integration::get_opts(&oss).await;
}

#[tokio::test]
async fn put_opts() {
    let (_fake, oss) = fresh();
    integration::put_opts(&oss, false).await;
}

#[tokio::test]
async fn attributes() {
    let (_fake, oss) = fresh();
    integration::put_get_attributes(&oss).await;
}

#[tokio::test]
async fn directories() {
    let (_fake, oss) = fresh();
    integration::list_uses_directories_correctly(&oss).await;
    integration::list_with_delimiter(&oss).await;
}

#[tokio::test]
async fn pages() {
    let (_fake, oss) = fresh();
    integration::list_paginated(&oss, &oss).await;
}

#[tokio::test]
async fn copies() {
    let (_fake, oss) = fresh();
    integration::rename_and_copy(&oss).await;
    integration::copy_if_not_exists(&oss).await;
    integration::copy_rename_nonexistent_object(&oss).await;
}

#[tokio::test]
async fn absent_objects() {
    let (_fake, oss) = fresh();
    integration::get_nonexistent_object(&oss, None)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn uploads_in_parts() {
    let (fake, oss) = fresh();
    integration::stream_get(&oss).await;
    integration::multipart(&oss, &oss).await;
    integration::multipart_out_of_order(&oss).await;
    integration::multipart_race_condition(&oss, true).await;
    let open = fake.bucket(crate::bucket::BUCKET, |bucket| bucket.open_uploads());
    assert_eq!(open, 0);
}

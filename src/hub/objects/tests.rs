//! Addresses, what headers and errors say, and what must not be said. Asking real servers is tested on the whole program.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let mut environment = Environment::of(&|_| None);
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.stores.extend(pairs);
    environment
}

fn objects(text: &str) -> Objects {
    let (scheme, rest) = text.split_once("://").unwrap();
    locate(scheme, rest).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

#[test]
fn a_path_is_a_bucket_and_a_key_as_it_is_written() {
    for (text, bucket, key) in [
        ("s3://bucket/a.csv", "bucket", "a.csv"),
        (
            "s3a://my.bucket_1/x/100%/a b.csv",
            "my.bucket_1",
            "x/100%/a b.csv",
        ),
        (
            "gs://b/dt=2024-01-01/**/*.csv.gz",
            "b",
            "dt=2024-01-01/**/*.csv.gz",
        ),
        ("az://$web/a.csv", "$web", "a.csv"),
        (
            "abfss://box@account.dfs.core.windows.net/a.csv",
            "box@account.dfs.core.windows.net",
            "a.csv",
        ),
    ] {
        let found = objects(text);
        assert_eq!((found.bucket.as_str(), found.key.as_str()), (bucket, key));
        assert_eq!(found.to_string(), text);
    }
    for wrong in [
        "s3://",
        "s3:///a.csv",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/folder/",
        "s3://bucket//a.csv",
        "s3://bucket/../a.csv",
        "s3://bucket/a**b.csv",
        "s3://buck et/a.csv",
        "s3://$web/a.csv",
        "s3://key:sesame@bucket/a.csv",
        "az://box:sesame@account/a.csv",
    ] {
        let (scheme, rest) = wrong.split_once("://").unwrap();
        let reason = locate(scheme, rest).expect_err(wrong);
        assert!(!reason.contains("sesame"), "{reason}");
    }
}

#[test]
fn requests_are_signed_exactly_where_there_are_credentials() {
    let signed = |text: &str, variables: &[(&str, &str)]| {
        Bucket::open(&environment(variables), &objects(text))
            .unwrap_or_else(|error| panic!("{error}"))
            .signed
    };
    assert!(!signed("s3://b/a", &[("AWS_REGION", "eu-west-1")]));
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "s")];
    assert!(signed("s3://b/a", &keys));
    let anonymous = [keys[0], keys[1], ("AWS_SKIP_SIGNATURE", "true")];
    assert!(!signed("s3://b/a", &anonymous));
    assert!(!signed("gs://b/a", &[]));
    assert!(signed("gs://b/a", &[("GOOGLE_BEARER_TOKEN", "token")]));
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "account");
    assert!(!signed("az://b/a", &[account]));
    assert!(signed(
        "az://b/a",
        &[account, ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")]
    ));
    assert!(!signed("abfss://b@account.dfs.core.windows.net/a", &[]));
}

#[test]
fn variables_that_lead_nowhere_are_said_to_without_their_values() {
    for (text, variables, said) in [
        (
            "s3://b/a",
            &[("AWS_ACCESS_KEY_ID", "sesame")][..],
            "SecretAccessKey",
        ),
        ("az://b/a", &[][..], "Account must be specified"),
        (
            "gs://b/a",
            &[("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"sesame\": 1}")][..],
            "credential",
        ),
        (
            "az://b/a",
            &[
                ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
                ("AZURE_STORAGE_ACCOUNT_KEY", "sesame!"),
            ][..],
            "",
        ),
    ] {
        let error = Bucket::open(&environment(variables), &objects(text));
        let Err(error) = error else {
            panic!("{text} is opened");
        };
        let said_now = error.to_string();
        assert!(said_now.contains(said), "{said_now}");
        assert!(!said_now.contains("sesame"), "{said_now}");
    }
    let environment = environment(&[("AWS_SECRET_ACCESS_KEY", "sesame")]);
    assert!(!format!("{environment:?}").contains("sesame"));
    let said = without(&secrets(&environment), "a sesame b".to_owned());
    assert_eq!(said, "a … b");
}

#[test]
fn an_md5_is_taken_only_where_it_is_one_of_the_whole_object() {
    let said = |is_part: bool, headers: &[(&str, &str)]| {
        md5_said(is_part, &|name| {
            let found = headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    let (hex, base64) = (
        "5eb63bbbe01eeed093cb22bb8f5acdc3",
        "XrY7u+Ae7tCTyyK7j1rNww==",
    );
    let quoted = format!("\"{hex}\"");
    let amazon = ("x-amz-request-id", "1");
    assert_eq!(
        said(true, &[amazon, ("etag", &quoted)]).as_deref(),
        Some(hex)
    );
    let kms = ("x-amz-server-side-encryption", "aws:kms");
    assert_eq!(said(false, &[amazon, kms, ("etag", &quoted)]), None);
    let aes = ("x-amz-server-side-encryption", "AES256");
    assert!(said(false, &[amazon, aes, ("etag", &quoted)]).is_some());
    let parts = format!("\"{hex}-2\"");
    assert_eq!(said(false, &[amazon, ("etag", &parts)]), None);
    assert_eq!(said(false, &[("etag", &quoted)]), None);
    let hashes = format!("crc32c=AAAAAA==,md5={base64}");
    assert_eq!(
        said(true, &[("x-goog-hash", &hashes)]).as_deref(),
        Some(hex)
    );
    let gzip = ("x-goog-stored-content-encoding", "gzip");
    assert_eq!(said(false, &[("x-goog-hash", &hashes), gzip]), None);
    let azure = [("x-ms-version", "1"), ("content-md5", base64)];
    assert_eq!(said(false, &azure).as_deref(), Some(hex));
    assert_eq!(said(true, &azure), None, "that is the MD5 of the part");
}

#[test]
fn an_error_is_read_for_its_code_and_its_message() {
    let xml = "<?xml?><Error><Code>NoSuchKey</Code><Message>It is\n  not there.</Message></Error>";
    assert_eq!(element(xml, "Code").as_deref(), Some("NoSuchKey"));
    assert_eq!(element(xml, "Message").as_deref(), Some("It is not there."));
    assert_eq!(element("<Code>", "Code"), None);
    assert_eq!(element("", "Code"), None);
}

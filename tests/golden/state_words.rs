//! Words of the scripts of the state machine that become etcd's requests.

use std::error::Error;

use bytes::Bytes;
use goldenscript::ArgumentConsumer;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) fn positional(words: &mut ArgumentConsumer<'_>) -> Result<String> {
    Ok(words.next_pos().ok_or("a word is missing")?.value.clone())
}

pub(crate) fn number<T: std::str::FromStr>(words: &mut ArgumentConsumer<'_>) -> Result<T>
where
    T::Err: std::fmt::Display,
{
    words.next_pos().ok_or("a number is missing")?.parse()
}

pub(crate) fn key(words: &mut ArgumentConsumer<'_>) -> Bytes {
    words.next_pos().map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default()
}

/// The words that stand alone behind the keys.
pub(crate) fn flags(words: &mut ArgumentConsumer<'_>, known: &[&str]) -> Result<Vec<String>> {
    let flags: Vec<String> = words.rest_pos().iter().map(|arg| arg.value.clone()).collect();
    words.reject_rest()?;
    match flags.iter().find(|flag| !known.contains(&flag.as_str())) {
        Some(flag) => Err(format!("no flag {flag}").into()),
        None => Ok(flags),
    }
}

pub(crate) fn put_request(words: &mut ArgumentConsumer<'_>) -> Result<PutRequest> {
    let (key, value) = (key(words), key(words));
    let lease = words.lookup_parse("lease")?.unwrap_or(0);
    let flags = flags(words, &["prev", "ignore_value", "ignore_lease"])?;
    let has = |flag: &str| flags.iter().any(|given| given == flag);
    let (prev_kv, ignore_value, ignore_lease) =
        (has("prev"), has("ignore_value"), has("ignore_lease"));
    Ok(PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease })
}

pub(crate) fn delete_request(words: &mut ArgumentConsumer<'_>) -> Result<DeleteRangeRequest> {
    let key = key(words);
    let range_end =
        words.lookup("end").map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    let prev_kv = !flags(words, &["prev"])?.is_empty();
    Ok(DeleteRangeRequest { key, range_end, prev_kv })
}

pub(crate) fn range_request(words: &mut ArgumentConsumer<'_>) -> Result<RangeRequest> {
    let key = key(words);
    let range_end =
        words.lookup("end").map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    let order = words.lookup("order").map(|arg| arg.value.to_uppercase());
    let target = words.lookup("target").map(|arg| arg.value.to_uppercase());
    let named = |name: &str| name.parse().map_err(|_| format!("no enum {name}"));
    let mut request = RangeRequest {
        key,
        range_end,
        sort_order: match &order {
            None => 0,
            Some(name) => {
                SortOrder::from_str_name(name).map_or_else(|| named(name), |o| Ok(o as i32))?
            }
        },
        sort_target: match &target {
            None => 0,
            Some(name) => {
                SortTarget::from_str_name(name).map_or_else(|| named(name), |t| Ok(t as i32))?
            }
        },
        ..RangeRequest::default()
    };
    for (name, field) in [
        ("limit", &mut request.limit),
        ("rev", &mut request.revision),
        ("min_mod", &mut request.min_mod_revision),
        ("max_mod", &mut request.max_mod_revision),
        ("min_create", &mut request.min_create_revision),
        ("max_create", &mut request.max_create_revision),
    ] {
        *field = words.lookup_parse(name)?.unwrap_or(0);
    }
    for flag in flags(words, &["keys_only", "count_only", "serializable"])? {
        match flag.as_str() {
            "keys_only" => request.keys_only = true,
            "count_only" => request.count_only = true,
            _ => request.serializable = true,
        }
    }
    Ok(request)
}

/// `TARGET KEY RESULT NUMBER-OR-VALUE`, `union=TARGET` where the union says something else.
pub(crate) fn compare(words: &mut ArgumentConsumer<'_>) -> Result<Compare> {
    let target = positional(words)?;
    let key = key(words);
    let result = positional(words)?;
    let operand = words.next_pos().map(|arg| arg.value.clone());
    let union = words.lookup("union").map_or_else(|| target.clone(), |arg| arg.value.clone());
    let range_end =
        words.lookup("end").map(|arg| Bytes::from(arg.value.clone())).unwrap_or_default();
    words.reject_rest()?;
    let target_union = match operand {
        None => None,
        Some(value) if union == "value" => Some(TargetUnion::Value(value.into())),
        Some(number) => {
            let number = number.parse()?;
            Some(match union.as_str() {
                "version" => TargetUnion::Version(number),
                "create" => TargetUnion::CreateRevision(number),
                "mod" => TargetUnion::ModRevision(number),
                _ => TargetUnion::Lease(number),
            })
        }
    };
    let target = CompareTarget::from_str_name(&target.to_uppercase()).ok_or("target?")? as i32;
    let result = match result.as_str() {
        "eq" => CompareResult::Equal as i32,
        "gt" => CompareResult::Greater as i32,
        "lt" => CompareResult::Less as i32,
        "ne" => CompareResult::NotEqual as i32,
        number => number.parse()?,
    };
    Ok(Compare { result, target, key, range_end, target_union })
}

//! A request → what the service answers.

use chrono::Utc;
use serde_json::{Value, json};

use super::Fake;
use super::http::{Request, Response};
use super::spl::Spl;
use super::verify::verify;
use super::world::{ConsumerGroup, Fault, Lie, Shard, World};

/// An answer, or status, code and message of a refusal.
type Answer = Result<Response, (u16, String, String)>;

/// Bytes of one reply, unpacked; the service bounds them too.
const REPLY_BYTES_MAX: usize = 10 << 20;

fn refuse<T>(
    status: u16,
    code: &str,
    message: impl Into<String>,
) -> Result<T, (u16, String, String)> {
    Err((status, code.to_owned(), message.into()))
}

fn ok(value: &Value) -> Answer {
    let response = Response::new(200, value.to_string());
    Ok(response.with("content-type", "application/json"))
}

/// The answer, or nothing where the connection is to be closed.
pub(super) fn answer(fake: &Fake, request: &Request) -> Option<Response> {
    let mut world = fake.world();
    let call = name(request);
    *world.calls.entry(call).or_default() += 1;
    let fault = world.fault(call);
    let date = world.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let finish = |response: Response| {
        response
            .with("x-log-requestid", "5F2A0000000000000000000A")
            .with("date", &date)
    };
    let refusal = |status, code: &str, message: &str| {
        let body = json!({"errorCode": code, "errorMessage": message}).to_string();
        Response::new(status, body).with("content-type", "application/json")
    };
    match &fault {
        Some(Fault::Drop) => return None,
        Some(Fault::Html(status)) => {
            return Some(finish(Response::new(*status, "<html>bad gateway</html>")));
        }
        Some(Fault::Refuse(status, code, message)) => {
            return Some(finish(refusal(*status, code, message)));
        }
        Some(Fault::Split) => {
            let path = request.path.rsplit('/').next();
            if let Some(shard) = path.and_then(|shard| shard.parse().ok()) {
                world.split(shard);
            }
        }
        _ => {}
    }
    let mut response = match answer_soundly(&mut world, request, call) {
        Ok(response) => response,
        Err((status, code, message)) => refusal(status, &code, &message),
    };
    drop(world);
    if response.status == 200 {
        match fault {
            Some(Fault::Lie(lie)) => falsify(&mut response, request, lie),
            fault => spoil(&mut response, fault.as_ref()),
        }
    }
    Some(finish(response))
}

fn spoil(response: &mut Response, fault: Option<&Fault>) {
    let packed = response
        .headers
        .iter()
        .any(|(name, _)| name == "x-log-compresstype");
    match fault {
        Some(Fault::Reset) => response.reset_after = Some(response.body.len() / 2),
        Some(Fault::Slow(pause)) => response.pause = Some(*pause),
        Some(Fault::Truncate) => response.body.truncate(response.body.len() / 2),
        Some(Fault::Corrupt) if packed => {
            let middle = response.body.len() / 2;
            for byte in response.body.iter_mut().skip(middle).take(16) {
                *byte ^= 0xa5;
            }
        }
        Some(Fault::RawSize(off)) if packed => {
            for (name, value) in &mut response.headers {
                if name == "x-log-bodyrawsize" {
                    let size: i64 = value.parse().unwrap();
                    *value = (size + off).max(0).to_string();
                }
            }
        }
        Some(Fault::Nonsense) if packed => {
            let nonsense = vec![0xff; 300];
            response.body = lz4_flex::block::compress(&nonsense);
            response
                .headers
                .retain(|(name, _)| !name.starts_with("x-log-bodyrawsize"));
            response
                .headers
                .push(("x-log-bodyrawsize".to_owned(), "300".to_owned()));
        }
        _ => {}
    }
}

fn falsify(response: &mut Response, request: &Request, lie: Lie) {
    let asked = request.parameter("cursor").unwrap_or_default().to_owned();
    let by = |value: &str, by: i64| (value.parse::<i64>().unwrap() + by).max(0).to_string();
    let hollow = matches!(lie, Lie::Hollow | Lie::Nothing);
    for (name, value) in &mut response.headers {
        *value = match (&**name, lie) {
            ("x-log-cursor", Lie::Stays | Lie::Nothing) => asked.clone(),
            ("x-log-cursor", Lie::Back(back)) => Shard::beside(&asked, -(back as i64)),
            ("x-log-count", Lie::CountsMore) => by(value, 1),
            ("x-log-count", Lie::CountsLess) => by(value, -1),
            ("x-log-count" | "x-log-bodyrawsize", _) if hollow => "0".to_owned(),
            ("x-log-resultlines", Lie::LeavesMore) => by(value, 1),
            ("x-log-read-last-cursor", Lie::LastBehind) => by(value, 1),
            _ => continue,
        };
    }
    match lie {
        Lie::CountsNothing => response.headers.retain(|(name, _)| name != "x-log-count"),
        Lie::Empty if request.parameter("type") == Some("cursor") => {
            response.body = json!({"cursor": ""}).to_string().into_bytes();
        }
        Lie::Empty => response.body = b"[]".to_vec(),
        _ if hollow => response.body.clear(),
        _ => {}
    }
}

fn name(request: &Request) -> &'static str {
    let part = request.path.split('/').nth(3).unwrap_or_default();
    let below = request.path.split('/').nth(4).is_some();
    match (request.method.as_str(), part, request.parameter("type")) {
        ("GET", "shards", Some("cursor")) => "GetCursor",
        ("GET", "shards", Some("cursor_time")) => "GetCursorTime",
        ("GET", "shards", Some("log" | "logs")) => "PullLogs",
        ("GET", "shards", _) => "ListShards",
        ("POST", "shards", _) => match request.parameter("action") {
            Some(_) => "SplitShard",
            None => "PutLogs",
        },
        ("POST", "logs", _) => "GetLogs",
        ("POST", "consumergroups", Some("heartbeat")) => "HeartBeat",
        ("POST", "consumergroups", Some("checkpoint")) => "UpdateCheckPoint",
        ("POST", "consumergroups", _) => "CreateConsumerGroup",
        ("PUT", "consumergroups", _) => "UpdateConsumerGroup",
        ("DELETE", "consumergroups", _) => "DeleteConsumerGroup",
        ("GET", "consumergroups", _) if below => "GetCheckPoint",
        ("GET", "consumergroups", _) => "ListConsumerGroup",
        _ => "Unknown",
    }
}

fn answer_soundly(world: &mut World, request: &Request, call: &'static str) -> Answer {
    let host = request.header("host");
    let project = host.split('.').next().unwrap_or_default();
    if project != world.project || !host.contains(&world.account.region) {
        let message = format!("The Project does not exist : {project}");
        return refuse(404, "ProjectNotExist", message);
    }
    verify(request, &world.account, world.now())
        .or_else(|(status, code, message)| refuse(status, code, message))?;
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    if parts.first() != Some(&"logstores") {
        return refuse(404, "InvalidPath", &request.path);
    }
    if parts.get(1) != Some(&world.logstore.as_str()) {
        return refuse(404, "LogStoreNotExist", "logstore does not exist");
    }
    let action = format!(
        "log:{}",
        match call {
            "GetCursor" | "GetCursorTime" | "PullLogs" => "GetCursorOrData",
            other => other,
        }
    );
    if world.denied.as_ref() == Some(&action) {
        let message = format!(
            "denied by sts or ram, action: {action}, resource: acs:log:cn-hangzhou:1:project/{project}/logstore/{}",
            world.logstore
        );
        return refuse(401, "Unauthorized", message);
    }
    let below = parts.get(3).copied().unwrap_or_default();
    match call {
        "ListShards" => ok(&shards(world)),
        "GetCursor" => cursor(world, request, below),
        "GetCursorTime" => cursor_time(world, request, below),
        "PullLogs" => pull(world, request, below),
        "SplitShard" => {
            let id = shard_id(world, below)?;
            match request.parameter("action") {
                Some("split") => drop(world.split(id)),
                _ => {
                    let next = world
                        .shards
                        .range(id + 1..)
                        .find(|(_, shard)| !shard.readonly);
                    let next = next.map(|(next, _)| *next);
                    match next {
                        Some(next) => drop(world.merge(id, next)),
                        None => return refuse(400, "ParameterInvalid", "no neighbour"),
                    }
                }
            }
            ok(&shards(world))
        }
        "PutLogs" => put(world, request),
        "GetLogs" => get_logs(world, request),
        _ => groups(world, request, call, below),
    }
}

fn shards(world: &World) -> Value {
    let one = |(id, shard): (&u32, &super::world::Shard)| {
        json!({
            "shardID": id, "status": if shard.readonly { "readonly" } else { "readwrite" },
            "inclusiveBeginKey": "0".repeat(32), "exclusiveEndKey": "f".repeat(32), "createTime": 1_524_222_931,
        })
    };
    world.shards.iter().map(one).collect()
}

fn shard_id(world: &World, text: &str) -> Result<u32, (u16, String, String)> {
    match text.parse() {
        Ok(id) if world.shards.contains_key(&id) => Ok(id),
        _ => refuse(400, "ShardNotExist", format!("shard {text} does not exist")),
    }
}

fn cursor(world: &World, request: &Request, shard: &str) -> Answer {
    let shard = &world.shards[&shard_id(world, shard)?];
    let index = match request.parameter("from").unwrap_or_default() {
        "begin" => shard.begin,
        "end" => shard.groups.len(),
        from => match from.parse::<i64>() {
            Err(_) => return refuse(400, "ParameterInvalid", "from"),
            Ok(from) => shard
                .groups
                .partition_point(|group| group.received < from)
                .max(shard.begin),
        },
    };
    ok(&json!({"cursor": shard.cursor(index)}))
}

fn cursor_time(world: &World, request: &Request, shard: &str) -> Answer {
    let shard = &world.shards[&shard_id(world, shard)?];
    let Some(index) = shard.index(request.parameter("cursor").unwrap_or_default()) else {
        return refuse(400, "InvalidCursor", "the cursor is out of range");
    };
    let at = shard.groups.get(index).or(shard.groups.last());
    let time = at.map_or_else(|| Utc::now().timestamp(), |group| group.received);
    ok(&json!({"cursor_time": time}))
}

fn pull(world: &mut World, request: &Request, shard: &str) -> Answer {
    if world.sick.contains(&shard_id(world, shard)?) {
        return refuse(500, "InternalServerError", "try again");
    }
    let failing_lines = std::mem::take(&mut world.failing_lines);
    let shard = &world.shards[&shard_id(world, shard)?];
    let invalid = || refuse(400, "InvalidCursor", "the cursor is out of range");
    let asked = request.parameter("cursor").unwrap_or_default();
    let from = match world.begin_hides {
        true => shard.index_ever(asked),
        false => shard.index(asked),
    };
    let Some(from) = from else {
        return invalid();
    };
    let count: usize = match request.parameter("count").unwrap_or("100").parse() {
        Ok(count @ 1..=1000) => count,
        _ => return refuse(400, "ParameterInvalid", "count"),
    };
    let mut to = shard.groups.len().min(from + count.min(world.groups_max));
    if let Some(end) = request.parameter("end_cursor") {
        match shard.index(end) {
            Some(end) => to = to.min(end.max(from)),
            None => return invalid(),
        }
    }
    let mut list = Vec::new();
    let mut next = from;
    for group in &shard.groups[from..to] {
        if next > from && list.len() + group.bytes.len() > REPLY_BYTES_MAX {
            break;
        }
        list.extend_from_slice(&group.bytes);
        next += 1;
    }
    let mut count = (next - from) as u64;
    let mut before_query = None;
    if let Some(query) = request.parameter("query") {
        if request.parameter("pullMode") != Some("scan_on_stream") {
            return refuse(400, "ParameterInvalid", "pullMode must be scan_on_stream");
        }
        let Some(spl) = Spl::parse(query) else {
            let message = format!("the statement cannot be understood: {query}");
            return refuse(400, "InvalidLogStoreQuery", message);
        };
        let raw = (list.len(), count);
        let (left, groups, lines, results) = super::records::filtered(&list, &spl);
        (list, count) = (left, groups);
        before_query = Some((raw, lines, results));
    }
    let (body, packing) = match request.header("accept-encoding") {
        _ if list.is_empty() => (Vec::new(), ""),
        text if text.contains("lz4") => (lz4_flex::block::compress(&list), "lz4"),
        text if text.contains("zstd") => (zstd::encode_all(list.as_slice(), 1).unwrap(), "zstd"),
        text if text.contains("deflate") && !text.contains("gzip") => {
            use std::io::Write;
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(&list).unwrap();
            (zlib.finish().unwrap(), "deflate")
        }
        _ => (list.clone(), ""),
    };
    let mut response = Response::new(200, body)
        .with("content-type", "application/x-protobuf")
        .with("x-log-count", count)
        .with("x-log-bodyrawsize", list.len())
        .with("x-log-cursor", shard.cursor(next));
    match before_query {
        // With a statement nobody is told which group was the last.
        Some(((size, groups), lines, results)) => {
            response = response
                .with("x-log-rawdatasize", size)
                .with("x-log-rawdatacount", groups)
                .with("x-log-rawdatalines", lines)
                .with("x-log-resultlines", results)
                .with("x-log-failedlines", failing_lines);
        }
        None if next > from => {
            let last = shard.number(next - 1);
            response = response.with("x-log-read-last-cursor", last);
        }
        None => {}
    }
    if !packing.is_empty() {
        response = response.with("x-log-compresstype", packing);
    }
    Ok(response)
}

fn put(world: &mut World, request: &Request) -> Answer {
    let size = request.header("x-log-bodyrawsize").parse().unwrap_or(0);
    let group = match request.header("x-log-compresstype") {
        "lz4" => lz4_flex::block::decompress(&request.body, size).ok(),
        "deflate" => {
            use std::io::Read;
            let mut group = Vec::new();
            let mut zlib = flate2::read::ZlibDecoder::new(request.body.as_slice());
            zlib.read_to_end(&mut group).ok().map(|_| group)
        }
        _ => Some(request.body.clone()),
    };
    let Some(group) = group.filter(|group| group.len() == size) else {
        return refuse(
            400,
            "PostBodyInvalid",
            "the body does not unpack to its size",
        );
    };
    let now = world.now().timestamp();
    world.put(&group, now);
    Ok(Response::new(200, ""))
}

fn get_logs(world: &World, request: &Request) -> Answer {
    let Ok(query) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(400, "PostBodyInvalid", "no JSON");
    };
    let number = |key: &str, absent: i64| query.get(key).and_then(Value::as_i64).unwrap_or(absent);
    let (from, to) = (number("from", 0), number("to", i64::MAX));
    if from == to {
        return refuse(400, "ParameterInvalid", "from and to are the same");
    }
    let mut found = Vec::new();
    for shard in world.shards.values() {
        for group in &shard.groups[shard.begin..] {
            for log in super::records::logs_of(&group.bytes) {
                if (from..to).contains(&i64::from(log.time)) {
                    let mut line = serde_json::Map::new();
                    for (key, value) in log.pairs {
                        line.insert(key, value.into());
                    }
                    line.insert("__time__".to_owned(), log.time.to_string().into());
                    found.push(Value::Object(line));
                }
            }
        }
    }
    let (line, offset) = (number("line", 100).clamp(0, 100), number("offset", 0));
    let page: Vec<Value> = found
        .into_iter()
        .skip(offset as usize)
        .take(line as usize)
        .collect();
    let body = json!({
        "meta": {"progress": "Complete", "count": page.len(), "hasSQL": false, "processedRows": 0, "keys": []},
        "data": page,
    })
    .to_string();
    let response = match request.header("accept-encoding").contains("lz4") {
        true => Response::new(200, lz4_flex::block::compress(body.as_bytes()))
            .with("x-log-compresstype", "lz4"),
        false => Response::new(200, body.clone()),
    };
    Ok(response
        .with("content-type", "application/json")
        .with("x-log-bodyrawsize", body.len()))
}

fn groups(world: &mut World, request: &Request, call: &str, group: &str) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let seconds = |value: &Value| {
        std::time::Duration::from_secs(value.get("timeout").and_then(Value::as_u64).unwrap_or(60))
    };
    let order = body.get("order").and_then(Value::as_bool).unwrap_or(false);
    let consumer = request.parameter("consumer").unwrap_or_default();
    let settled =
        |refused: (u16, &'static str)| (refused.0, refused.1.to_owned(), "see the code".to_owned());
    match call {
        "CreateConsumerGroup" => {
            let name = body.get("consumerGroup").and_then(Value::as_str).unwrap_or_default();
            if world.groups.contains_key(name) {
                return refuse(400, "ConsumerGroupAlreadyExist", "consumer group already exist");
            }
            let group = ConsumerGroup {
                timeout: seconds(&body),
                order,
                ..ConsumerGroup::default()
            };
            world.groups.insert(name.to_owned(), group);
            Ok(Response::new(200, ""))
        }
        "ListConsumerGroup" => ok(&world
            .groups
            .iter()
            .map(|(name, group)| {
                json!({"name": name, "timeout": group.timeout.as_secs(), "order": group.order})
            })
            .collect()),
        "UpdateConsumerGroup" => match world.groups.get_mut(group) {
            Some(group) => {
                (group.timeout, group.order) = (seconds(&body), order);
                Ok(Response::new(200, ""))
            }
            None => refuse(404, "ConsumerGroupNotExist", group),
        },
        "DeleteConsumerGroup" => match world.groups.remove(group) {
            Some(_) => Ok(Response::new(200, "")),
            None => refuse(404, "ConsumerGroupNotExist", group),
        },
        "HeartBeat" => {
            let held = body.as_array().into_iter().flatten();
            let held = held.filter_map(Value::as_u64).map(|id| id as u32).collect();
            let assigned = world.heartbeat(group, consumer, held).map_err(settled)?;
            ok(&json!(assigned))
        }
        "UpdateCheckPoint" => {
            let shard = body.get("shard").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let cursor = body.get("checkpoint").and_then(Value::as_str).unwrap_or_default();
            let force = request
                .parameter("forceSuccess")
                .is_some_and(|force| force.eq_ignore_ascii_case("true"));
            world.save(group, consumer, shard as u32, cursor, force).map_err(settled)?;
            Ok(Response::new(200, ""))
        }
        "GetCheckPoint" => {
            let Some(found) = world.groups.get(group) else {
                return refuse(404, "ConsumerGroupNotExist", group);
            };
            let wanted: Option<u32> =
                request.parameter("shard").and_then(|shard| shard.parse().ok());
            let ids = world.shards.keys().filter(|id| wanted.is_none_or(|wanted| wanted == **id));
            let list = ids.map(|id| {
                let (cursor, by) = found.checkpoints.get(id).cloned().unwrap_or_default();
                json!({"shard": id, "checkpoint": cursor, "updateTime": 1_447_329_401_102_130_u64, "consumer": by})
            });
            ok(&list.collect())
        }
        _ => refuse(405, "InvalidMethod", &request.path),
    }
}

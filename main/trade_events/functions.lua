#!lua name=tickerbus_trades_2
-- The trade event bus's server-side functions. Their names carry a version, so that two releases
-- can share a Redis during an upgrade. They run on Redis 7.0 and newer, and on Valkey.

-- Operational configuration: one hash, read at every call. What it lacks, or holds as no number,
-- is as here. Times in seconds unless the name says ms; 0 means for ever.
local DEFAULTS = {
  log_max_events = 250000,
  anomalies_max_events = 10000,
  failed_max_events = 10000,
  event_id_retention_s = 604800,
  event_ids_max = 1500000,
  open_order_ttl_s = 8640000,
  ended_order_ttl_s = 604800,
  closed_position_ttl_s = 604800,
  claim_idle_ms = 30000,
  retry_after_ms = 1000,
  max_deliveries = 5,
  groups = '',
}

local function read_config(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then
    return DEFAULTS
  end
  local found, config = {}, {}
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  for name, default in pairs(DEFAULTS) do
    if type(default) == 'number' then
      config[name] = tonumber(found[name]) or default
    else
      config[name] = found[name] or default
    end
  end
  return config
end

-- The state table: event, status before ("none": there is nothing yet), status after. What is not
-- here is an anomaly. Rejected out of nothing: refused before anybody could say "created".
local MOVES = {
  ['order.created'] = {none = 'pending'},
  ['order.partially_filled'] = {
    pending = 'partially_filled', partially_filled = 'partially_filled',
  },
  ['order.filled'] = {pending = 'filled', partially_filled = 'filled'},
  ['order.cancelled'] = {pending = 'cancelled', partially_filled = 'cancelled'},
  ['order.rejected'] = {none = 'rejected', pending = 'rejected', partially_filled = 'rejected'},
  ['order.modified'] = {pending = 'pending', partially_filled = 'partially_filled'},
  ['position.opened'] = {none = 'active'},
  ['position.modified'] = {active = 'active'},
  ['position.partially_closed'] = {active = 'active'},
  ['position.closed'] = {active = 'closed'},
}
local OPEN = {pending = true, partially_filled = true, active = true}
local OPENERS = {['order.created'] = true, ['position.opened'] = true}
local FILLS = {['order.partially_filled'] = true, ['order.filled'] = true}
local CLOSINGS = {['position.partially_closed'] = true, ['position.closed'] = true}

-- Events come as one flat array, one after the other: a table for each would cost more than reading
-- it. From `at` on an event has:
local TYPE, SYMBOL, EVENT_ID = 1, 2, 3
local SUBJECT, ID = 4, 5  -- "order", "position" or "", and its id
local BODY, TIMESTAMP = 6, 7  -- the JSON, and its timestamp
local MEANS = 8  -- an execution's volume; a closing's profit; "replaced" by another order; else ""
local TOTAL = 9  -- what is filled of the order after an execution, where that is known; else ""
local COUNT = 10  -- how many texts follow: field, text, … for the hash. None of the bus's own may be
                  -- among them, nor filled_volume of an execution, nor pnl and volume of a closing.
local HEAD = 10

local function number_text(value)
  return string.format('%.12g', value)  -- no 0.30000000000000004
end

local function illegal(kind, subject, before)
  if before == 'none' then
    return 'unknown_' .. subject
  end
  if OPENERS[kind] then
    return 'already_exists'
  end
  return subject .. '_ended'
end

local function read_state(kind, key)
  if FILLS[kind] then
    return redis.pcall('HMGET', key, 'status', 'filled_volume', 'volume')
  elseif CLOSINGS[kind] then
    return redis.pcall('HMGET', key, 'status', 'pnl')
  end
  return redis.pcall('HMGET', key, 'status')
end

-- The order's total after an execution; nil: it is not above what is recorded.
local function filled_after(means, total, before, after)
  local filled = tonumber(before[2]) or 0
  if total ~= '' then
    return tonumber(total) > filled and total or nil
  elseif after == 'filled' and tonumber(before[3]) then
    return before[3]
  end
  return number_text(filled + tonumber(means))
end

-- What becomes of an order or a position: its status after, the name and text of the amount that
-- moves (or the status once more), and whether it is new. Or nil and a reason; or nil alone: legal, but
-- nothing changes; or nil, nil and why it cannot be judged.
local function judge(events, at, key)
  local kind, means = events[at + TYPE], events[at + MEANS]
  local before = read_state(kind, key)
  if before.err then
    return nil, nil, key .. ' is no hash of the bus: ' .. before.err
  end
  local status = before[1] or 'none'
  local after, is_new = MOVES[kind][status], status == 'none'
  if FILLS[kind] and not is_new then
    local filled = filled_after(means, events[at + TOTAL], before, after)
    if not filled then
      return nil  -- old news of a fill: told, but it moves nothing
    elseif after then
      return after, 'filled_volume', filled, false
    end
  end
  if not after then
    return nil, illegal(kind, events[at + SUBJECT], status)
  elseif kind == 'order.created' then
    return after, 'filled_volume', '0', true
  elseif CLOSINGS[kind] then
    local pnl = before[2] and number_text(tonumber(before[2]) + tonumber(means)) or means
    return after, 'pnl', pnl, false
  elseif means == 'replaced' then
    after = 'replaced'
  end
  return after, 'status', after, is_new
end

local function set_state(events, at, key, id, after, name, amount, is_new)
  local kind, timestamp = events[at + TYPE], events[at + TIMESTAMP]
  local first, last = at + HEAD + 1, at + HEAD + events[at + COUNT]
  if is_new then
    redis.call('HSET', key, 'status', after, name, amount, 'updated_at', timestamp, 'last_event', kind,
      'log_id', id, 'symbol', events[at + SYMBOL], 'created_at', timestamp, 'first_log_id', id,
      unpack(events, first, last))
  else
    redis.call('HSET', key, 'status', after, name, amount, 'updated_at', timestamp, 'last_event', kind,
      'log_id', id, unpack(events, first, last))
    if after == 'closed' then
      redis.call('HSET', key, 'volume', '0')
    end
  end
end

local function millis(id)
  return string.match(id, '^%d+')
end

-- When state ends by itself, in ms since 1970, as text; nil: never. An active position stays, however
-- long it is held.
local function expires_at(subject, status, ms, config)
  local name = 'closed_position_ttl_s'
  if subject == 'order' then
    name = OPEN[status] and 'open_order_ttl_s' or 'ended_order_ttl_s'
  elseif OPEN[status] then
    return nil
  end
  return config[name] > 0 and string.format('%.0f', tonumber(ms) + config[name] * 1000) or nil
end

local function set_expiry(subject, key, status, ms, config, is_new)
  local at = expires_at(subject, status, ms, config)
  if at then
    redis.call('PEXPIREAT', key, at)
  elseif not is_new then
    redis.call('PERSIST', key)
  end
end

local function index_key(prefix, subject, symbol)
  return prefix .. (subject == 'order' and 'orders:open:' or 'positions:active:') .. symbol
end

local function state_key(prefix, events, at)
  return prefix .. events[at + SUBJECT] .. ':' .. events[at + SYMBOL] .. ':' .. events[at + ID]
end

local function foreign(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then
    return key .. ' holds a ' .. found .. ', not the bus\'s ' .. wanted
  end
  return nil
end

local function foreign_index(key, batch)
  if batch.indexes[key] == nil then
    batch.indexes[key] = foreign(key, 'zset') or false
  end
  return batch.indexes[key]
end

local function create_groups(log, groups)
  for group in string.gmatch(groups, '[^,%s]+') do
    redis.pcall('XGROUP', 'CREATE', log, group, '0')  -- one that is there already stays as it is
  end
end

local function add(tally, name, count)
  tally[name] = (tally[name] or 0) + count
end

-- Known event ids stand in sets, a generation each: a key for each id would take twice the memory, and
-- nothing would bound their number. The newest set takes new ids, until half the retention is over or
-- it holds a third of `event_ids_max`; it and the two before it are known. So an id is known for its
-- retention at least and for half of it more at most, unless the count is reached before. Which
-- generation is the newest, when it was begun and when the one before it was, stands in "trades:seen".
local function read_seen(prefix)
  local key = prefix .. 'trades:seen'
  local number, born, before = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
  local seen = {key = key, number = tonumber(number), born = tonumber(born), before = tonumber(before)}
  if number then
    seen.current = key .. ':' .. number
    seen.older = seen.number > 1 and key .. ':' .. seen.number - 1 or nil
    seen.oldest = seen.number > 2 and key .. ':' .. seen.number - 2 or nil
  else
    seen.number, seen.born, seen.before, seen.current = 0, 0, 0, key .. ':1'
  end
  return seen
end

local function is_known(seen, event_id)
  return (seen.older and redis.call('SISMEMBER', seen.older, event_id) == 1)
    or (seen.oldest and redis.call('SISMEMBER', seen.oldest, event_id) == 1)
    or redis.call('SADD', seen.current, event_id) == 0
end

local COUNT_AFTER = 100  -- so many events; to count at each would cost one that comes alone too much
local uncounted = {}

local function is_full(seen, added, config)
  uncounted[seen.key] = (uncounted[seen.key] or 0) + added
  if uncounted[seen.key] < COUNT_AFTER then
    return false
  end
  uncounted[seen.key] = 0
  return redis.call('SCARD', seen.current) >= config.event_ids_max / 3
end

-- After a batch: begin the next generation if it is time, and let go of what is too old then.
local function close_generation(seen, added, now, config, tally)
  local retention_ms = config.event_id_retention_s * 1000
  if seen.number > 0 and now - seen.born < retention_ms / 2 and not is_full(seen, added, config) then
    return
  end
  if seen.number > 0 then
    redis.call('PEXPIRE', seen.current, retention_ms)
  end
  if seen.oldest then
    if now - seen.before < retention_ms then  -- it is the count that makes it go, not its age
      add(tally, 'event_ids_forgotten', redis.call('SCARD', seen.oldest))
    end
    redis.call('UNLINK', seen.oldest)
  end
  redis.call('SET', seen.key, string.format('%d %.0f %.0f', seen.number + 1, now, seen.born))
end

-- tickerbus_trades_publish_2
-- Publishing a batch is one atomic step: log, state, index, expiry and channel of each event.
-- An event id that was seen within its retention changes nothing and is told to nobody again.
-- KEYS  log, anomalies, config, counters, symbols; and, from who sends a batch before the one in front
--       of it was answered, a key of its own, "trades:sender:<its name>"
-- ARGV  prefix, the events as one flat MessagePack array; with a sixth key the batch's number, and "1"
--       for one that was sent when none was on its way. Any other is taken only if the batch of the
--       number before it was: else it would overtake one that was refused for want of memory.
-- Returns for each event "P<log id>" published, "D" seen before, "A<log id> <reason>" an anomaly,
-- or "R<reason>" refused and not written; or a single {"REFUSED", reason}, or {"BEHIND"}.

local function tell_anomaly(keys, prefix, events, at, reason, batch)
  local body = events[at + BODY]
  local id = redis.call('XADD', keys[1], 'MAXLEN', '~', batch.log_max, '*', 'm', body, 'a', reason)
  batch.logged, batch.own = id, id
  redis.call('XADD', keys[2], 'MAXLEN', '~', batch.config.anomalies_max_events, '*', 'm', body,
    'a', reason, 'log_id', id)
  add(batch.tally, 'anomalies', 1)
  add(batch.tally, 'anomalies.' .. reason, 1)
  redis.call('PUBLISH', prefix .. 'trades:' .. events[at + SYMBOL] .. ':anomaly',
    string.sub(body, 1, -2) .. ',"anomaly":"' .. reason .. '","log_id":"' .. id .. '"}')
  return 'A' .. id .. ' ' .. reason
end

local function set_index(prefix, index, events, at, after, is_new, ms, batch)
  if not is_new then
    redis.call('ZREM', index, events[at + ID])
    return
  end
  local symbol = events[at + SYMBOL]
  if not batch.symbols[symbol] then
    redis.call('SADD', prefix .. 'trades:symbols', symbol)
    batch.symbols[symbol] = true
  end
  if OPEN[after] then
    redis.call('ZADD', index, ms, events[at + ID])
  end
end

local function publish_one(keys, prefix, events, at, batch)
  if is_known(batch.seen, events[at + EVENT_ID]) then
    add(batch.tally, 'duplicates', 1)
    return 'D'
  end
  local subject, body = events[at + SUBJECT], events[at + BODY]
  local key, index, after, name, amount, is_new
  if subject ~= '' then
    key = state_key(prefix, events, at)
    after, name, amount, is_new = judge(events, at, key)
    local reason, refusal = name, amount
    if after then
      reason, refusal = nil, nil
      if is_new or not OPEN[after] then
        index = index_key(prefix, subject, events[at + SYMBOL])
        refusal = foreign_index(index, batch)
      end
    end
    if refusal then
      error({err = refusal})
    elseif reason then
      return tell_anomaly(keys, prefix, events, at, reason, batch)
    end
  end
  local id = redis.call('XADD', keys[1], 'MAXLEN', '~', batch.log_max, '*', 'm', body)
  batch.logged, batch.own = id, id
  if after then
    local ms = millis(id)
    set_state(events, at, key, id, after, name, amount, is_new)
    set_expiry(subject, key, after, ms, batch.config, is_new)
    if index then
      set_index(prefix, index, events, at, after, is_new, ms, batch)
    end
  end
  redis.call('PUBLISH', prefix .. 'trades:' .. events[at + SYMBOL] .. ':' .. events[at + TYPE],
    string.sub(body, 1, -2) .. ',"log_id":"' .. id .. '"}')
  add(batch.tally, 'published', 1)
  return 'P' .. id
end

-- What goes wrong with one event is no other's concern.
local function publish_safely(keys, prefix, events, at, batch)
  batch.own = nil
  local done, outcome = pcall(publish_one, keys, prefix, events, at, batch)
  if done then
    return outcome
  end
  local reason = type(outcome) == 'table' and outcome.err or tostring(outcome)
  if batch.own then
    reason = 'logged as ' .. batch.own .. ', but its state was not moved: ' .. reason
  else
    redis.pcall('SREM', batch.seen.current, tostring(events[at + EVENT_ID]))
  end
  add(batch.tally, 'refused', 1)
  return 'R' .. reason
end

local SENDER_LIFE_S = 60

local function is_in_turn(keys, args)
  return not keys[6] or args[4] == '1'
    or redis.call('GET', keys[6]) == string.format('%.0f', tonumber(args[3]) - 1)
end

-- Why nothing can be written, or nil, and whether there is no log yet. Once there is one, the other
-- keys are the bus's own, too: nobody need look at them each time.
local KINDS = {'stream', 'stream', 'hash', 'hash', 'set'}

local function look_at(keys)
  local kind = redis.call('TYPE', keys[1]).ok
  if kind == 'stream' then
    return nil, false
  end
  for i = 1, #KINDS do
    local refusal = foreign(keys[i], KINDS[i])
    if refusal then
      return refusal, true
    end
  end
  return nil, true
end

redis.register_function('tickerbus_trades_publish_2', function(keys, args)
  local refusal, is_empty = look_at(keys)
  if refusal then
    return {'REFUSED', refusal}
  elseif not is_in_turn(keys, args) then
    return {'BEHIND'}
  end
  local config, tally = read_config(keys[3]), {}
  local batch = {config = config, tally = tally, symbols = {}, indexes = {}, seen = read_seen(args[1]),
    log_max = string.format('%.0f', config.log_max_events)}
  local events, at, outcomes, n = cmsgpack.unpack(args[2]), 0, {}, 0
  while events[at + 1] do
    n = n + 1
    outcomes[n] = publish_safely(keys, args[1], events, at, batch)
    at = at + HEAD + events[at + COUNT]
  end
  if batch.logged then
    close_generation(batch.seen, n, tonumber(millis(batch.logged)), config, tally)
    if is_empty then
      create_groups(keys[1], config.groups)  -- from the first event on: they had all before it
    end
  end
  for name, count in pairs(tally) do
    redis.pcall('HINCRBY', keys[4], name, count)  -- the events stand, whatever became of this key
  end
  if keys[6] then
    redis.call('SET', keys[6], args[3], 'EX', SENDER_LIFE_S)
  end
  return outcomes
end)

-- tickerbus_trades_group_2
-- Make a consumer group where it is missing, and remember it, so that it comes back after a restart
-- of an empty server.
-- KEYS  log, config    ARGV  group, where a new one starts: "$", "0" or a log id
-- Returns 1 if it is new.
redis.register_function('tickerbus_trades_group_2', function(keys, args)
  local groups = redis.call('HGET', keys[2], 'groups') or ''
  local known = false
  for group in string.gmatch(groups, '[^,%s]+') do
    known = known or group == args[1]
  end
  if not known then
    redis.call('HSET', keys[2], 'groups', groups == '' and args[1] or groups .. ',' .. args[1])
  end
  local reply = redis.pcall('XGROUP', 'CREATE', keys[1], args[1], args[2], 'MKSTREAM')
  if reply.err and not string.find(reply.err, 'BUSYGROUP', 1, true) then
    return reply
  end
  return reply.err and 0 or 1
end)

-- tickerbus_trades_fail_2
-- Keep what failed; if it was a durable consumer's, it is done with it: one step.
-- KEYS  failed, log, config, counters    ARGV  counter, group or "", log id, then field, text, …
-- Returns the id in the stream of failures.
redis.register_function('tickerbus_trades_fail_2', function(keys, args)
  local config, fields = read_config(keys[3]), {}
  for i = 4, #args do
    fields[i - 3] = args[i]
  end
  local id = redis.call('XADD', keys[1], 'MAXLEN', '~', config.failed_max_events, '*', unpack(fields))
  redis.call('HINCRBY', keys[4], args[1], 1)
  if args[2] ~= '' then
    redis.call('XACK', keys[2], args[2], args[3])
  end
  return id
end)

-- tickerbus_trades_config_2
-- KEYS  config    Returns every name and the value in force.
redis.register_function{
  function_name = 'tickerbus_trades_config_2',
  flags = {'no-writes'},
  callback = function(keys)
    local flat = {}
    for name, value in pairs(read_config(keys[1])) do
      flat[#flat + 1] = name
      flat[#flat + 1] = type(value) == 'number' and string.format('%.0f', value) or value
    end
    return flat
  end,
}

-- Rebuilding: the log's events are applied again, by the same code, to state under other names; then
-- both are compared, and where that is asked for the live ones are replaced.

local SHADOW_LIFE_S = 3600  -- what a rebuild that was killed leaves behind ends by itself

local function now_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end

local function has_expired(key, subject, at_ms, config)
  local found = redis.call('HMGET', key, 'status', 'log_id')
  if not found[1] then
    return false
  end
  local at = expires_at(subject, found[1], millis(found[2]), config)
  return at ~= nil and tonumber(at) <= at_ms
end

-- tickerbus_trades_shadow_2
-- KEYS  the set of what was touched, config
-- ARGV  shadow prefix, events of orders and positions as they were published, and a MessagePack array
--       that has for each its log id, and the anomaly it was or ""
-- Returns the number of events that were judged otherwise than when they were published.
redis.register_function('tickerbus_trades_shadow_2', function(keys, args)
  local config, prefix, otherwise, at = read_config(keys[2]), args[1], 0, 0
  local events, told = cmsgpack.unpack(args[2]), cmsgpack.unpack(args[3])
  for i = 1, #told, 2 do
    local key, id, was = state_key(prefix, events, at), told[i], told[i + 1]
    if has_expired(key, events[at + SUBJECT], tonumber(millis(id)), config) then
      redis.call('DEL', key)
    end
    local after, name, amount, is_new = judge(events, at, key)
    if was ~= '' then
      -- Nothing is known here of what began before the log does.
      if after and redis.call('EXISTS', key) == 1 then
        otherwise = otherwise + 1
      end
    elseif after then
      set_state(events, at, key, id, after, name, amount, is_new)
      redis.call('EXPIRE', key, SHADOW_LIFE_S)
      redis.call('SADD', keys[1], string.sub(key, #prefix + 1))
    elseif name and not string.find(name, '^unknown') then
      otherwise = otherwise + 1
    end
    at = at + HEAD + events[at + COUNT]
  end
  redis.call('EXPIRE', keys[1], SHADOW_LIFE_S)
  return otherwise
end)

local function older(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  am, as, bm, bs = tonumber(am), tonumber(as), tonumber(bm), tonumber(bs)
  return am < bm or (am == bm and as < bs)
end

local function difference(live, made)
  local fields, left, found = {}, {}, {}
  for i = 1, #live, 2 do
    left[live[i]] = live[i + 1]
  end
  for i = 1, #made, 2 do
    if left[made[i]] ~= made[i + 1] then
      found[#found + 1] = made[i]
    end
    left[made[i]] = nil
  end
  for name in pairs(left) do
    found[#found + 1] = name
  end
  table.sort(found)
  return table.concat(found, ',')
end

local function split(name)
  return string.match(name, '^(%a+):([^:]+):(.+)$')
end

-- One order or position: compare, and replace where that is asked for. Returns what differs, or "".
local function settle_one(prefix, shadow, name, replaces, config)
  local subject, symbol, id = split(name)
  if has_expired(shadow .. name, subject, now_ms(), config) then
    redis.call('DEL', shadow .. name)
  end
  local made, live = redis.call('HGETALL', shadow .. name), redis.call('HGETALL', prefix .. name)
  local what = #made == 0 and #live > 0 and 'surplus' or difference(live, made)
  local facts = redis.call('HMGET', shadow .. name, 'status', 'first_log_id', 'log_id')
  local index = index_key(prefix, subject, symbol)
  local score = redis.call('ZSCORE', index, id)
  local wanted = OPEN[facts[1]] and string.match(facts[2], '^%d+') or nil
  if (score and string.format('%.0f', tonumber(score)) or nil) ~= wanted then
    what = what == '' and 'index' or what .. ',index'
  end
  if not replaces then
    redis.call('DEL', shadow .. name)
    return what
  end
  if #made > 0 then
    redis.call('RENAME', shadow .. name, prefix .. name)
    set_expiry(subject, prefix .. name, facts[1], millis(facts[3]), config, false)
    redis.call('SADD', prefix .. 'trades:symbols', symbol)
  else
    redis.call('DEL', prefix .. name)
  end
  if wanted then
    redis.call('ZADD', index, wanted, id)
  else
    redis.call('ZREM', index, id)
  end
  return what
end

-- tickerbus_trades_settle_2
-- KEYS  config
-- ARGV  prefix, shadow prefix, the first and the last log id that were applied, "1" to replace, then
--       names of state ("order:XAUUSD:12345"): one step for all of them
-- Returns for each name "=" equal, "~" it began before the log does, ">" it has moved on since (ask
-- again when more was applied), or what differs.
redis.register_function('tickerbus_trades_settle_2', function(keys, args)
  local prefix, shadow, first, last = args[1], args[2], args[3], args[4]
  local config, outcomes = read_config(keys[1]), {}
  for i = 6, #args do
    local live = redis.call('HMGET', prefix .. args[i], 'first_log_id', 'log_id')
    if live[1] and older(live[1], first) then
      redis.call('DEL', shadow .. args[i])
      outcomes[i - 5] = '~'
    elseif live[2] and older(last, live[2]) then
      outcomes[i - 5] = '>'
    else
      local what = settle_one(prefix, shadow, args[i], args[5] == '1', config)
      outcomes[i - 5] = what == '' and '=' or what
    end
  end
  return outcomes
end)

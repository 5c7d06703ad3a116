#!lua name=tickerbus_trades_1
-- The trade event bus's server-side functions. Their names carry a version, so that two releases
-- can share a Redis during an upgrade. They run on Redis 7.0 and newer, and on Valkey.

-- Operational configuration: one hash, read at every call. What it lacks, or holds as no number,
-- is as here. Times in seconds unless the name says ms; 0 means for ever.
local DEFAULTS = {
  log_max_events = 250000,
  anomalies_max_events = 10000,
  failed_max_events = 10000,
  event_id_retention_s = 604800,
  open_order_ttl_s = 8640000,
  ended_order_ttl_s = 604800,
  closed_position_ttl_s = 604800,
  claim_idle_ms = 30000,
  retry_after_ms = 1000,
  max_deliveries = 5,
  groups = '',
}

local function read_config(key)
  local found, flat = {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    found[flat[i]] = flat[i + 1]
  end
  local config = {}
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

-- An event as it comes: {type, symbol, event id, subject ("order", "position" or ""), subject's id,
-- JSON, timestamp, account or "", {field, text, …} for the hash, {what the move needs as numbers}}
local TYPE, SYMBOL, EVENT_ID, SUBJECT, ID, BODY, TIMESTAMP, ACCOUNT, PAIRS, MEANS = 1, 2, 3, 4, 5, 6,
  7, 8, 9, 10

local function number_text(value)
  return string.format('%.12g', value)  -- no 0.30000000000000004
end

local function illegal(event, before)
  if before == 'none' then
    return 'unknown_' .. event[SUBJECT]
  end
  if OPENERS[event[TYPE]] then
    return 'already_exists'
  end
  return event[SUBJECT] .. '_ended'
end

-- What becomes of an order or a position: {status after, fields to set}, or nil and a reason, or
-- nil and nil: legal, but nothing changes.
local function judge(event, key)
  local before = redis.pcall('HMGET', key, 'status', 'filled_volume', 'volume', 'pnl')
  if before.err then
    return nil, nil, key .. ' is no hash of the bus: ' .. before.err
  end
  local status, filled, volume = before[1] or 'none', tonumber(before[2]), tonumber(before[3])
  local means = event[MEANS]
  if means.filled and status ~= 'none' and tonumber(means.filled) <= (filled or 0) then
    return nil, nil  -- old news of a fill: told, but it moves nothing
  end
  local after = MOVES[event[TYPE]][status]
  if not after then
    return nil, illegal(event, status)
  end
  if means.replaced then
    after = 'replaced'
  end
  local fields = {'status', after}
  if means.execution then
    local total = means.filled
    if not total and after == 'filled' and volume then
      total = before[3]
    elseif not total then
      total = number_text((filled or 0) + tonumber(means.execution))
    end
    fields[3], fields[4] = 'filled_volume', total
  elseif event[TYPE] == 'order.created' then
    fields[3], fields[4] = 'filled_volume', '0'
  elseif means.pnl then
    fields[3], fields[4] = 'pnl', means.pnl
    if before[4] then
      fields[4] = number_text(tonumber(before[4]) + tonumber(means.pnl))
    end
    if after == 'closed' then
      fields[5], fields[6] = 'volume', '0'
    end
  end
  return {status = after, fields = fields, is_new = status == 'none'}
end

-- The event's own fields, then what the move sets: it wins.
local function set_state(event, key, move, id)
  local fields, moved = event[PAIRS], move.fields
  local n = #fields
  for i = 1, #moved do
    n = n + 1
    fields[n] = moved[i]
  end
  fields[n + 1], fields[n + 2] = 'updated_at', event[TIMESTAMP]
  fields[n + 3], fields[n + 4] = 'last_event', event[TYPE]
  fields[n + 5], fields[n + 6] = 'log_id', id
  if move.is_new then
    fields[n + 7], fields[n + 8] = 'symbol', event[SYMBOL]
    fields[n + 9], fields[n + 10] = 'created_at', event[TIMESTAMP]
    fields[n + 11], fields[n + 12] = 'first_log_id', id
    if event[ACCOUNT] ~= '' then
      fields[n + 13], fields[n + 14] = 'account', event[ACCOUNT]
    end
  end
  redis.call('HSET', key, unpack(fields))
end

local function millis(id)
  return tonumber(string.match(id, '^%d+'))
end

-- When state ends by itself, in ms since 1970; nil: never. An active position stays, however long it
-- is held.
local function expires_at(subject, status, log_id, config)
  local name = 'closed_position_ttl_s'
  if subject == 'order' then
    name = OPEN[status] and 'open_order_ttl_s' or 'ended_order_ttl_s'
  elseif OPEN[status] then
    return nil
  end
  return config[name] > 0 and millis(log_id) + config[name] * 1000 or nil
end

local function set_expiry(subject, key, status, log_id, config, is_new)
  local at = expires_at(subject, status, log_id, config)
  if at then
    redis.call('PEXPIREAT', key, at)
  elseif not is_new then
    redis.call('PERSIST', key)
  end
end

local function index_key(prefix, event)
  local head = event[SUBJECT] == 'order' and 'orders:open:' or 'positions:active:'
  return prefix .. head .. event[SYMBOL]
end

local function set_index(prefix, event, move, id, batch)
  if move.is_new then
    if not batch.symbols[event[SYMBOL]] then
      redis.call('SADD', prefix .. 'trades:symbols', event[SYMBOL])
      batch.symbols[event[SYMBOL]] = true
    end
    if OPEN[move.status] then
      redis.call('ZADD', index_key(prefix, event), millis(id), event[ID])
    end
  elseif not OPEN[move.status] then
    redis.call('ZREM', index_key(prefix, event), event[ID])
  end
end

local function state_key(prefix, event)
  return prefix .. event[SUBJECT] .. ':' .. event[SYMBOL] .. ':' .. event[ID]
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

-- tickerbus_trades_publish_1
-- Publishing a batch is one atomic step: log, state, index, expiry and channel of each event.
-- An event id that was seen within its retention changes nothing and is told to nobody again.
-- KEYS  log, anomalies, config, counters, symbols; and, from who sends a batch before the one in front
--       of it was answered, a key of its own, "trades:sender:<its name>"
-- ARGV  prefix, the events as a MessagePack array; with a sixth key the batch's number, and "1" for one
--       that was sent when none was on its way. Any other is taken only if the batch of the number
--       before it was: else it would overtake one that was refused for want of memory.
-- Returns for each event "P<log id>" published, "D" seen before, "A<log id> <reason>" an anomaly,
-- or "R<reason>" refused and not written; or a single {"REFUSED", reason}, or {"BEHIND"}.

local function publish_one(keys, prefix, event, batch)
  local config, tally = batch.config, batch.tally
  local seen = prefix .. 'trades:seen:' .. event[EVENT_ID]
  local taken
  if config.event_id_retention_s > 0 then
    taken = redis.call('SET', seen, '', 'NX', 'EX', config.event_id_retention_s)
  else
    taken = redis.call('SET', seen, '', 'NX')
  end
  if not taken then
    tally.duplicates = (tally.duplicates or 0) + 1
    return 'D'
  end
  local key, move, reason, refusal
  if event[SUBJECT] ~= '' then
    key = state_key(prefix, event)
    move, reason, refusal = judge(event, key)
    if move and (move.is_new or not OPEN[move.status]) then
      refusal = foreign_index(index_key(prefix, event), batch)
    end
    if refusal then
      error({err = refusal})
    end
  end
  local body = event[BODY]
  if reason then
    local id = redis.call('XADD', keys[1], 'MAXLEN', '~', config.log_max_events, '*', 'm', body,
      'a', reason)
    batch.logged = id
    redis.call('XADD', keys[2], 'MAXLEN', '~', config.anomalies_max_events, '*', 'm', body,
      'a', reason, 'log_id', id)
    tally.anomalies = (tally.anomalies or 0) + 1
    tally['anomalies.' .. reason] = (tally['anomalies.' .. reason] or 0) + 1
    redis.call('PUBLISH', prefix .. 'trades:' .. event[SYMBOL] .. ':anomaly',
      string.sub(body, 1, -2) .. ',"anomaly":"' .. reason .. '","log_id":"' .. id .. '"}')
    return 'A' .. id .. ' ' .. reason
  end
  local id = redis.call('XADD', keys[1], 'MAXLEN', '~', config.log_max_events, '*', 'm', body)
  batch.logged = id
  if move then
    set_state(event, key, move, id)
    set_expiry(event[SUBJECT], key, move.status, id, config, move.is_new)
    set_index(prefix, event, move, id, batch)
  end
  redis.call('PUBLISH', prefix .. 'trades:' .. event[SYMBOL] .. ':' .. event[TYPE],
    string.sub(body, 1, -2) .. ',"log_id":"' .. id .. '"}')
  tally.published = (tally.published or 0) + 1
  return 'P' .. id
end

-- What goes wrong with one event is no other's concern.
local function publish_safely(keys, prefix, event, batch)
  batch.logged = nil
  local done, outcome = pcall(publish_one, keys, prefix, event, batch)
  if done then
    return outcome
  end
  local reason = type(outcome) == 'table' and outcome.err or tostring(outcome)
  if batch.logged then
    reason = 'logged as ' .. batch.logged .. ', but its state was not moved: ' .. reason
  else
    redis.pcall('DEL', prefix .. 'trades:seen:' .. tostring(event[EVENT_ID]))
  end
  batch.tally.refused = (batch.tally.refused or 0) + 1
  return 'R' .. reason
end

local SENDER_LIFE_S = 60

local function is_in_turn(keys, args)
  return not keys[6] or args[4] == '1'
    or redis.call('GET', keys[6]) == string.format('%.0f', tonumber(args[3]) - 1)
end

local KINDS = {'stream', 'stream', 'hash', 'hash', 'set'}

redis.register_function('tickerbus_trades_publish_1', function(keys, args)
  for i = 1, #KINDS do
    local refusal = foreign(keys[i], KINDS[i])
    if refusal then
      return {'REFUSED', refusal}
    end
  end
  if not is_in_turn(keys, args) then
    return {'BEHIND'}
  end
  local batch = {config = read_config(keys[3]), tally = {}, symbols = {}, indexes = {}}
  local is_empty, outcomes = redis.call('EXISTS', keys[1]) == 0, {}
  for i, event in ipairs(cmsgpack.unpack(args[2])) do
    outcomes[i] = publish_safely(keys, args[1], event, batch)
  end
  for name, count in pairs(batch.tally) do
    redis.call('HINCRBY', keys[4], name, count)
  end
  if is_empty and #outcomes > 0 then
    create_groups(keys[1], batch.config.groups)  -- from the first event on: they had all before it
  end
  if keys[6] then
    redis.call('SET', keys[6], args[3], 'EX', SENDER_LIFE_S)
  end
  return outcomes
end)

-- tickerbus_trades_group_1
-- Make a consumer group where it is missing, and remember it, so that it comes back after a restart
-- of an empty server.
-- KEYS  log, config    ARGV  group, where a new one starts: "$", "0" or a log id
-- Returns 1 if it is new.
redis.register_function('tickerbus_trades_group_1', function(keys, args)
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

-- tickerbus_trades_fail_1
-- Keep what failed; if it was a durable consumer's, it is done with it: one step.
-- KEYS  failed, log, config, counters    ARGV  counter, group or "", log id, then field, text, …
-- Returns the id in the stream of failures.
redis.register_function('tickerbus_trades_fail_1', function(keys, args)
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

-- tickerbus_trades_config_1
-- KEYS  config    Returns every name and the value in force.
redis.register_function{
  function_name = 'tickerbus_trades_config_1',
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
  local at = expires_at(subject, found[1], found[2], config)
  return at ~= nil and at <= at_ms
end

-- tickerbus_trades_shadow_1
-- KEYS  the set of what was touched, config
-- ARGV  shadow prefix, a MessagePack array of events; each with an 11th part, its log id, and a
--       12th, the anomaly it was or ""
-- Returns the number of events that were judged otherwise than when they were published.
redis.register_function('tickerbus_trades_shadow_1', function(keys, args)
  local config, prefix, otherwise = read_config(keys[2]), args[1], 0
  for _, event in ipairs(cmsgpack.unpack(args[2])) do
    local key, id, was = state_key(prefix, event), event[11], event[12]
    if has_expired(key, event[SUBJECT], millis(id), config) then
      redis.call('DEL', key)
    end
    local move, reason = judge(event, key)
    if was ~= '' then
      -- Nothing is known here of what began before the log does.
      if move and redis.call('EXISTS', key) == 1 then
        otherwise = otherwise + 1
      end
    elseif move then
      set_state(event, key, move, id)
      redis.call('EXPIRE', key, SHADOW_LIFE_S)
      redis.call('SADD', keys[1], event[SUBJECT] .. ':' .. event[SYMBOL] .. ':' .. event[ID])
    elseif reason and not string.find(reason, '^unknown') then
      otherwise = otherwise + 1
    end
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
  local index = index_key(prefix, {[SUBJECT] = subject, [SYMBOL] = symbol})
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
    set_expiry(subject, prefix .. name, facts[1], facts[3], config, false)
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

-- tickerbus_trades_settle_1
-- KEYS  config
-- ARGV  prefix, shadow prefix, the first and the last log id that were applied, "1" to replace, then
--       names of state ("order:XAUUSD:12345"): one step for all of them
-- Returns for each name "=" equal, "~" it began before the log does, ">" it has moved on since (ask
-- again when more was applied), or what differs.
redis.register_function('tickerbus_trades_settle_1', function(keys, args)
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

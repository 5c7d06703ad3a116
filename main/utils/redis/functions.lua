#!lua name=tickerbus_3
-- The bus's server-side functions. The library's name and theirs carry a version, so that two
-- releases can share a Redis during an upgrade: loading one must not take the other's away.

-- tickerbus_publish_3
-- Writing a batch is one atomic step: nobody sees half of it, a superseded broker writes nothing,
-- and a batch that is sent again (because its reply was lost) is neither written nor published twice.
-- A batch that was sent before the one ahead of it was confirmed is refused if that one is not done:
-- its higher ids would make what is missing look as if it had been written.
--
-- KEYS  epoch, batch, then of each ticker its TICKER_LOG, and of the first of them, those with
--       orders, their ORDER_LOG
-- ARGV  epoch, batch number, the number of the batch that must be done before (0: whichever it is),
--       seconds that orders are kept, number of orders, and in MessagePack
--       (which the server reads faster than as many arguments): the tickers' channels; of each
--       journalled message, orders first, its ticker's place among them, its id, its body, and the
--       bound of its journal or false; then of each message that is only published (quotes, bars)
--       its channel and body
-- Returns the number of messages done, or {reason, index of the message, detail}.

local function already_done(key, epoch)
  -- The journal refused the id as "equal or smaller". That means "done before" only if its top is
  -- of this epoch; a top from a later epoch is somebody else's, and must not pass as success.
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return string.match(info[i + 1], '^(%d+)-') == epoch
    end
  end
  return false
end

-- true: written now. false: was there already. Otherwise an error text.
local function append(try, key, bound, id, body, epoch)
  local reply
  if bound then
    reply = try('XADD', key, 'MAXLEN', '~', bound, id, 'm', body)
  else
    reply = try('XADD', key, id, 'm', body)
  end
  if not reply.err then
    return true
  end
  if string.find(reply.err, 'equal or smaller', 1, true) and already_done(key, epoch) then
    return false
  end
  return reply.err
end

-- Asked before anything is written: a message that is in its journal counts as done, and would not
-- be published any more once the right to do so is back.
local function forbidden(channels, unlogged)
  local may = redis.acl_check_cmd
  for i = 1, #channels do
    if not may('PUBLISH', channels[i], '') then
      return channels[i]
    end
  end
  local checked
  for i = 1, #unlogged, 2 do
    if unlogged[i] ~= checked then
      checked = unlogged[i]
      if not may('PUBLISH', checked, '') then
        return checked
      end
    end
  end
  return nil
end

-- The number of the last batch of this epoch that was done whole, here; 0 if there is none. A
-- foreign value under its name is none, and is overwritten.
local function last_done(key, epoch)
  local mark = redis.pcall('GET', key)
  local of_epoch, number = string.match(type(mark) == 'string' and mark or '', '^(%d+)-(%d+)$')
  return of_epoch == epoch and tonumber(number) or 0
end

local function publish_batch(keys, args)
  local epoch = args[1]
  local current = redis.call('GET', keys[1])
  if not current then
    return {'NOEPOCH', 0, ''}
  end
  if current ~= epoch then
    return {'FENCED', 0, current}
  end
  local done = last_done(keys[2], epoch)
  if done < tonumber(args[3]) then
    return {'BEHIND', 0, '' .. done}
  end
  local keep_orders_s, orders = args[4], tonumber(args[5])
  local channels, places, ids, bodies, bounds, unlogged = unpack(cmsgpack.unpack(args[6]))
  if tonumber(args[2]) <= done then
    -- Sent again, or kept back by the network. This is a write, so that whoever waits for replicas
    -- waits until they have it all.
    redis.call('SET', keys[2], epoch .. '-' .. done)
    return #places + #unlogged / 2
  end
  local channel = forbidden(channels, unlogged)
  if channel then
    return redis.error_reply('NOPERM this user may not publish to ' .. channel)
  end
  local call, try = redis.call, redis.pcall -- looked up once, not for each message
  for i = 1, #places do
    local place, id, body = places[i], ids[i], bodies[i]
    local log = keys[2 + place]
    if i <= orders then
      local order_log = keys[2 + #channels + place]
      local outcome = append(try, order_log, false, id, body, epoch)
      if type(outcome) == 'string' then
        return {'FAILED', i, order_log .. ': ' .. outcome}
      end
      call('EXPIRE', order_log, keep_orders_s)
    end
    local outcome = append(try, log, bounds[i], id, body, epoch)
    if outcome == true then
      call('PUBLISH', channels[place], body)
    elseif outcome then
      return {'FAILED', i, log .. ': ' .. outcome}
    end
  end
  -- Before what is in no journal: that would be published again with every repetition.
  call('SET', keys[2], epoch .. '-' .. args[2])
  for i = 1, #unlogged, 2 do
    call('PUBLISH', unlogged[i], unlogged[i + 1])
  end
  return #places + #unlogged / 2
end

redis.register_function('tickerbus_publish_3', publish_batch)

-- tickerbus_lead_3
-- Take, keep or look at the leadership, by compare and set.
-- KEYS  leader    ARGV  my value, expiry in ms, "1" if an absent key may be taken
-- Returns {MINE | TAKEN | ABSENT | OTHER, the value found}. A value with "owner":null was let go of
-- by a clean stop: anybody may take it at once.
redis.register_function('tickerbus_lead_3', function(keys, args)
  local current = redis.call('GET', keys[1])
  if current == args[1] then
    redis.call('PEXPIRE', keys[1], args[2])
    return {'MINE', current}
  end
  local free = current and string.find(current, '"owner":null', 1, true)
  if (not current and args[3] == '1') or free then
    redis.call('SET', keys[1], args[1], 'PX', args[2])
    return {'TAKEN', current or ''}
  end
  if not current then
    return {'ABSENT', ''}
  end
  return {'OTHER', current}
end)

-- tickerbus_release_3
-- Let go of the leadership, if it is mine.
-- KEYS  leader    ARGV  my value, the value that says "let go", expiry in ms
redis.register_function('tickerbus_release_3', function(keys, args)
  if redis.call('GET', keys[1]) ~= args[1] then
    return 0
  end
  redis.call('SET', keys[1], args[2], 'PX', args[3])
  return 1
end)

-- tickerbus_open_epoch_3
-- Begin a new epoch, higher than the last: one step, so that a broker that sleeps in the middle can
-- neither fence the owner nor go back.
-- KEYS  epoch, leader    ARGV  Unix time in ms, my leader value ("" where there is no leadership)
-- Returns the epoch as a string, or false: somebody else leads.
redis.register_function('tickerbus_open_epoch_3', function(keys, args)
  if args[2] ~= '' and redis.call('GET', keys[2]) ~= args[2] then
    return false
  end
  local epoch = math.max(tonumber(args[1]), tonumber(redis.call('GET', keys[1]) or 0) + 1)
  local text = string.format('%.0f', epoch)
  redis.call('SET', keys[1], text)
  return text
end)

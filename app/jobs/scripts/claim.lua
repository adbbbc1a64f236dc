-- Claims due jobs under a lease.
--
-- A claimed job keeps its place in the queue with its score raised to the end of its lease plus a half, so that
-- arq's Job.result() still finds it and running jobs never stand in front of waiting ones. A due score that ends in
-- a half is therefore a lease that ran out: the worker was lost. Negative scores mark jobs that moved on to their
-- own queue (see finish.lua). The token in `claims` outlives the lease, so that a finish which comes late but before
-- any other claim still counts; `arq:in-progress:{id}` does not, so that arq's Job.status() tells the truth.
--
-- KEYS: queue, claims, lost, paused, events, epoch, aborts, progress.
-- ARGV: token, lease (ms), limit (at most 100: Lua does not roll back), now (ms; '' = the server's), queue's name,
-- most events kept, and since when (ms; '' = never) Redis may not have heard the holders of leases: those that ran out
-- since then get another lease's length, for their holders may live.
-- Returns now, the next due time (ms; false where there is none, or may be more that is due), 1 where the queue is
-- paused, the epoch, and for each job: id, due score, payload, tries, memory, lost, and when (ms) it was asked to be
-- aborted, or false. The token is kept with the epoch before it.
local now = clock(ARGV[4])
if redis.call('SISMEMBER', KEYS[4], ARGV[5]) == 1 then
  return {now, false, 1, ''}
end
local lease = tonumber(ARGV[2])
local lease_end = string.format('%d.5', now + lease)
local silent_since = tonumber(ARGV[7])
-- Whoever lives has renewed within the last third of its lease: a shorter silence does it no harm.
if silent_since and now - silent_since >= lease / 3 then
  -- By their claims: a range of the queue could hold a million waiting jobs as well.
  for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
    local score = redis.call('ZSCORE', KEYS[1], id)
    local ended = score and string.find(score, '.5', 1, true) and tonumber(score)
    if ended and ended >= silent_since and ended <= now then
      redis.call('ZADD', KEYS[1], lease_end, id)
    end
  end
end
-- Stock Job.abort() gives a job whose score lies ahead the score 1, a moment before it says that the job is to be
-- aborted. Where that job is running its lease is put back: its holder will end it.
local hurried = redis.call('ZRANGEBYSCORE', KEYS[1], 1, 1)
for _, id in ipairs(hurried) do
  if redis.call('HEXISTS', KEYS[2], id) == 1 then
    redis.call('ZADD', KEYS[1], lease_end, id)
  elseif not redis.call('ZSCORE', KEYS[7], id) then
    redis.call('ZADD', KEYS[1], string.format('%d', now + 250), id)
  end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, now, 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local next_due = false
if #due / 2 < tonumber(ARGV[3]) then
  local later = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%d', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  next_due = later[2] or false
end
if #due == 0 then
  return {now, next_due, 0, ''}
end
-- A server that is out of memory refuses a script's first write, unless that can't add anything; what comes after it is
-- let pass. Ending jobs is what makes room.
redis.call('ZREM', KEYS[1], '')
-- The token of one claim is as good a name for an epoch as any: it is never used again.
redis.call('SET', KEYS[6], ARGV[1], 'NX')
local epoch = redis.call('GET', KEYS[6])
local token = epoch .. ' ' .. ARGV[1]
local ids, keys, raised, held, lost = {}, {}, {}, {}, {}
for i = 1, #due, 2 do
  local id = due[i]
  ids[#ids + 1] = id
  keys[#keys + 1] = 'arq:job:' .. id
  keys[#keys + 1] = 'arq:retry:' .. id
  keys[#keys + 1] = 'indostar:memory:' .. id
  raised[#raised + 1] = lease_end
  raised[#raised + 1] = id
  held[#held + 1] = id
  held[#held + 1] = token
  redis.call('SET', 'arq:in-progress:' .. id, token, 'PX', lease)
  if string.find(due[i + 1], '.5', 1, true) then
    redis.call('HSET', KEYS[3], id, (tonumber(redis.call('HGET', KEYS[3], id) or 0) or 0) + 1)
    lost[#lost + 1] = id
  end
end
redis.call('ZADD', KEYS[1], unpack(raised))
redis.call('HSET', KEYS[2], unpack(held))
local values = redis.call('MGET', unpack(keys))
-- Most queues never lost a worker: an empty hash is not asked for every job.
local losses = {}
if #lost > 0 then
  -- What the lost workers' attempts said of how far they were.
  redis.call('HDEL', KEYS[8], unpack(lost))
end
if #lost > 0 or redis.call('HLEN', KEYS[3]) > 0 then
  losses = redis.call('HMGET', KEYS[3], unpack(ids))
end
local aborts = {}
if redis.call('EXISTS', KEYS[7]) == 1 then
  aborts = redis.call('ZMSCORE', KEYS[7], unpack(ids))
end
local reply = {now, next_due, 0, epoch}
local event = {'kind', 'started', 'at', string.format('%d', now), 'by', ARGV[1], 'queue', ARGV[5]}
for n, id in ipairs(ids) do
  local payload, tries, memory = values[3 * n - 2], values[3 * n - 1], values[3 * n]
  reply[#reply + 1] = id
  reply[#reply + 1] = due[2 * n]
  reply[#reply + 1] = payload
  reply[#reply + 1] = tries
  reply[#reply + 1] = memory
  reply[#reply + 1] = losses[n] or false
  reply[#reply + 1] = aborts[n] or false
  event[#event + 1] = 'job:' .. id
  if not payload then
    event[#event + 1] = ''
  elseif string.sub(payload, 1, 7) == '{"v":1,' then
    -- Enqueued by us: the stream has its payload.
    event[#event + 1] = due[2 * n]
  else
    event[#event + 1] = due[2 * n] .. ' ' .. payload
    -- Stock arq lets a payload expire a day after its job was due; ours lives as long as its job.
    redis.call('PERSIST', 'arq:job:' .. id)
  end
end
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[6], '*', unpack(event))
return reply

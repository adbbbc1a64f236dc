-- Lets jobs through limits that all workers share, or not.
--
-- The rate is kept as in GCRA: `tat` is the time (ms) at which the next job would be due if all came evenly; a job may
-- come earlier by as much as the burst allows. `held` has the permits of those who are within, scored by when they
-- lapse; `granted` the jobs whose turn has been given out (see pace.lua), scored likewise.
--
-- KEYS: paused queues, then every queue.
-- ARGV: now (ms; '' = the server's), how long a permit holds (ms), burst (ms' worth of the rate), the queues' names,
-- the number of limits, each with its name, rate (a second; '' = any) and how many may be within ('' = any), then for
-- each job: which limit (from 1), id, permit.
-- Returns for each 1, or 0 where it has to wait: there is no room, or others wait already.
local now = clock(ARGV[1])
local lapses, burst_ms = now + tonumber(ARGV[2]), tonumber(ARGV[3])
local queues = {}
for n = 2, #KEYS do
  if redis.call('SISMEMBER', KEYS[1], ARGV[n + 2]) == 0 then
    queues[#queues + 1] = KEYS[n]
  end
end
local at = #KEYS + 3
local limits = {}
for n = 1, tonumber(ARGV[at]) do
  local name, rate, most = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 3
  local key = 'indostar:limit:' .. name
  local limit = {key = key, most = most, granted = 0, within = 0, entered = {}}
  local waiting = {}
  for _, queue in ipairs(queues) do
    waiting[#waiting + 1] = key .. ':waiting:' .. queue
  end
  -- What waits on a paused queue keeps nobody else waiting.
  limit.is_waited_for = #waiting > 0 and redis.call('EXISTS', unpack(waiting)) > 0
  if redis.call('EXISTS', key .. ':granted') == 1 then
    redis.call('ZREMRANGEBYSCORE', key .. ':granted', '-inf', now)
    limit.granted = redis.call('ZCARD', key .. ':granted')
  end
  if most then
    redis.call('ZREMRANGEBYSCORE', key .. ':held', '-inf', now)
    limit.within = redis.call('ZCARD', key .. ':held')
  end
  if rate then
    limit.interval = 1000 / rate
    limit.early = math.max(math.floor(burst_ms / limit.interval) - 1, 0) * limit.interval
    limit.tat = math.max(tonumber(redis.call('GET', key .. ':tat') or 0) or 0, now)
  end
  limits[n] = limit
end
local reply = {}
for i = at + 1, #ARGV, 3 do
  local limit, id, permit = limits[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2]
  -- Within already: the answer was lost, and it was asked again.
  local is_within = limit.most and redis.call('ZSCORE', limit.key .. ':held', permit)
  local may_enter = is_within or limit.granted > 0 and redis.call('ZREM', limit.key .. ':granted', id) == 1
  if is_within then
    limit.within = limit.within - 1
  elseif may_enter then
    limit.granted = limit.granted - 1
  elseif not limit.is_waited_for then
    local is_full = limit.most and limit.within + limit.granted >= limit.most
    may_enter = not is_full and not (limit.interval and limit.tat - now > limit.early)
    if may_enter and limit.interval then
      limit.tat = limit.tat + limit.interval
      limit.has_moved = true
    end
  end
  if may_enter then
    limit.within = limit.within + 1
    limit.entered[#limit.entered + 1] = lapses
    limit.entered[#limit.entered + 1] = permit
  end
  reply[#reply + 1] = may_enter and 1 or 0
end
for _, limit in ipairs(limits) do
  if limit.most and #limit.entered > 0 then
    redis.call('ZADD', limit.key .. ':held', unpack(limit.entered))
  end
  if limit.has_moved then
    local text = string.format('%.3f', limit.tat)
    redis.call('SET', limit.key .. ':tat', text, 'PX', math.ceil(limit.tat - now) + 1)
  end
end
return reply

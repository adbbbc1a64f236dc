-- Takes permits back, and gives turns to the jobs that wait for limits, those that were enqueued first before others.
--
-- A waiting job lies on its queue with a far score that ends in a quarter, and in `waiting` of its limit and queue,
-- scored by when it was enqueued. Its turn puts it on its queue with the time of the turn (again and a quarter) as
-- score, and into `granted`, where room is kept for it until some time after its turn. A turn that nobody takes (the
-- queue was paused, the job aborted, workers busy or dead) lapses: what is lost of the rate is not made up for.
--
-- KEYS: paused queues, names of the limits that are waited for, then every queue.
-- ARGV: now (ms; '' = the server's), burst (ms' worth of the rate), how far ahead turns are given and how long after
-- them they lapse (ms), how long a kept turn is kept (ms), most turns a limit, the queues' names, then for each limit:
-- name, rate (a second; '' = any), how many may be within ('' = any), how many permits come back, and each of them
-- with the id of the job that is to come back in, or '': one that left to wait for another limit keeps its turn. Where
-- the permit is '', the job with that id does without its turn.
-- Returns for each limit how many jobs of queues that are not paused wait, or have a turn, and 1 where more turns
-- could be given at once.
local now = clock(ARGV[1])
local burst_ms, horizon, patience = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept_until, most_turns = now + tonumber(ARGV[5]), tonumber(ARGV[6])
-- At a high rate turns come in small groups, so that a claim brings several.
local GROUP_MS = 10
local queues, open = {}, {}
for n = 3, #KEYS do
  queues[#queues + 1] = KEYS[n]
  if redis.call('SISMEMBER', KEYS[1], ARGV[n + 4]) == 0 then
    open[#open + 1] = KEYS[n]
  end
end

-- The `count` oldest, and perhaps some more, of those that wait on queues which are not paused: {id, queue, key, place}.
local function first_waiting(key, count)
  local found = {}
  for _, queue in ipairs(open) do
    local waiting = key .. ':waiting:' .. queue
    local rows = redis.call('ZRANGE', waiting, 0, count - 1, 'WITHSCORES')
    for n = 1, #rows, 2 do
      found[#found + 1] = {rows[n], queue, waiting, tonumber(rows[n + 1])}
    end
  end
  table.sort(found, function(one, other)
    if one[4] == other[4] then
      return one[1] < other[1]
    end
    return one[4] < other[4]
  end)
  return found
end

-- Behind a long backlog a turn would lapse before its job is claimed: one that came a while ago goes to the very front.
local function hasten(granted)
  local late = redis.call('ZRANGEBYSCORE', granted, now, now + patience - 100, 'LIMIT', 0, 1000)
  for _, queue in ipairs(#late > 0 and open or {}) do
    local scores = redis.call('ZMSCORE', queue, unpack(late))
    for n, id in ipairs(late) do
      -- Any other score: it is running.
      if scores[n] and string.sub(scores[n], -3) == '.25' and tonumber(scores[n]) < now then
        redis.call('ZADD', queue, '2.25', id)
      end
    end
  end
end

-- A job that ended, or is not on any queue for another reason, does not come for the turn that was kept for it.
local function forget_kept(granted)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', granted, now + horizon + patience + 1, '+inf')) do
    local is_there = false
    for _, queue in ipairs(queues) do
      is_there = is_there or redis.call('ZSCORE', queue, id)
    end
    if not is_there then
      redis.call('ZREM', granted, id)
    end
  end
end

local function count_waiting(key, among)
  local count = 0
  for _, queue in ipairs(among) do
    count = count + redis.call('ZCARD', key .. ':waiting:' .. queue)
  end
  return count
end

-- Returns whether more could be given at once.
local function give_turns(key, rate, most)
  local granted = key .. ':granted'
  local room = math.huge
  if most then
    redis.call('ZREMRANGEBYSCORE', key .. ':held', '-inf', now)
    room = most - redis.call('ZCARD', key .. ':held') - redis.call('ZCARD', granted)
    if room <= 0 then
      forget_kept(granted)
      room = most - redis.call('ZCARD', key .. ':held') - redis.call('ZCARD', granted)
    end
    if room <= 0 then
      return false
    end
  end
  local interval, early, tat, group = 0, 0, now, 1
  if rate then
    -- Half a second's worth of turns that nobody takes: the workers are at their own limit, and more would only lapse.
    local untaken = redis.call('ZCOUNT', granted, now, now + patience - 200)
    if untaken > math.max(1, rate / 2) then
      return false
    end
    interval = 1000 / rate
    local burst = math.max(math.floor(burst_ms / interval), 1)
    early = (burst - 1) * interval
    if interval < GROUP_MS then
      -- Putting turns off to the end of their group must not add to the burst.
      group, early = GROUP_MS, math.max(early - GROUP_MS, 0)
    end
    tat = math.max(tonumber(redis.call('GET', key .. ':tat') or 0) or 0, now)
    if tat > now + horizon + (burst + 1) * interval then
      -- Nobody comes so far ahead: it was counted at a lower rate, which is not the limit's any more.
      tat = now
    end
  end
  local most_given, given, stale = math.min(room, most_turns), 0, 0
  repeat
    local found = 0
    for _, job in ipairs(first_waiting(key, most_given - given)) do
      local id, queue = job[1], job[2]
      local turn = math.max(now, tat - early)
      if given == most_given or turn > now + horizon then
        found = 0
        break
      end
      redis.call('ZREM', job[3], id)
      if string.sub(redis.call('ZSCORE', queue, id) or '', -3) == '.25' then
        tat = tat + interval
        turn = math.ceil(turn / group) * group
        redis.call('ZADD', queue, string.format('%d.25', turn), id)
        redis.call('ZADD', granted, turn + patience, id)
        given = given + 1
      else
        -- It was aborted or discarded, or came by another way: the next ones move up.
        found = found + 1
        stale = stale + 1
      end
    end
  until found == 0 or stale > most_turns
  if given > 0 and rate then
    redis.call('SET', key .. ':tat', string.format('%.3f', tat), 'PX', math.ceil(tat - now) + 1)
  end
  return given == most_turns or stale > most_turns
end

local reply = {}
local at = #KEYS + 5
while at <= #ARGV do
  local name, rate, most, back = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  local key = 'indostar:limit:' .. name
  redis.call('ZREMRANGEBYSCORE', key .. ':granted', '-inf', now)
  for n = at, at + 2 * back - 1, 2 do
    redis.call('ZREM', key .. ':held', ARGV[n])
    if ARGV[n] == '' then
      redis.call('ZREM', key .. ':granted', ARGV[n + 1])
    elseif ARGV[n + 1] ~= '' then
      redis.call('ZADD', key .. ':granted', kept_until, ARGV[n + 1])
    end
  end
  at = at + 2 * back
  hasten(key .. ':granted')
  local is_more = count_waiting(key, open) > 0 and give_turns(key, rate, most)
  local left = count_waiting(key, open)
  if left == 0 and count_waiting(key, queues) == 0 then
    redis.call('SREM', KEYS[2], name)
  end
  reply[#reply + 1] = left + redis.call('ZCOUNT', key .. ':granted', now, now + horizon + patience)
  reply[#reply + 1] = is_more and left > 0 and 1 or 0
end
return reply

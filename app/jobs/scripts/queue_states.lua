-- How many jobs each queue has, by what they wait for.
--
-- KEYS: claims, paused queues, names of the limits that are waited for, then every queue.
-- ARGV: now (ms; '' = the server's), then the name of every queue.
-- Returns now, and for each queue: waiting, scheduled, running, 1 where it is paused, and since when (ms) the oldest
-- waits, or false.
local now = clock(ARGV[1])
local holders = redis.call('HKEYS', KEYS[1])
local limits = redis.call('SMEMBERS', KEYS[3])
local reply = {now}
for n = 4, #KEYS do
  local queue = KEYS[n]
  -- Running is what is under a lease that has not run out, see claim.lua.
  local running = 0
  for first = 1, #holders, 1000 do
    local scores = redis.call('ZMSCORE', queue, unpack(holders, first, math.min(first + 999, #holders)))
    for _, score in ipairs(scores) do
      if score and string.sub(score, -2) == '.5' and tonumber(score) > now then
        running = running + 1
      end
    end
  end
  -- Small scores are those of jobs that were put in front, not times.
  local oldest = redis.call('ZRANGEBYSCORE', queue, 3, now, 'WITHSCORES', 'LIMIT', 0, 1)[2]
  oldest = oldest and math.floor(tonumber(oldest))
  -- What waits for a limit lies far ahead on its queue, see finish.lua.
  local in_line = 0
  for _, limit in ipairs(limits) do
    local waiting = 'indostar:limit:' .. limit .. ':waiting:' .. queue
    in_line = in_line + redis.call('ZCARD', waiting)
    local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2]
    if first and (not oldest or tonumber(first) < oldest) then
      oldest = math.floor(tonumber(first))
    end
  end
  local ahead = redis.call('ZCOUNT', queue, '(' .. string.format('%d', now), '+inf')
  reply[#reply + 1] = redis.call('ZCOUNT', queue, 0, now) + in_line
  reply[#reply + 1] = math.max(0, ahead - running - in_line)
  reply[#reply + 1] = running
  reply[#reply + 1] = redis.call('SISMEMBER', KEYS[2], ARGV[n - 2])
  reply[#reply + 1] = oldest or false
end
return reply

-- Puts a job on its queue unless its id is taken.
-- KEYS: payload, result, queue.  ARGV: id, payload, due (ms; '' = now).  Returns 1, or 0 where the id is taken.
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then
  return 0
end
local due = ARGV[3]
if due == '' then
  local time = redis.call('TIME')
  due = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[3], due, ARGV[1])
return 1

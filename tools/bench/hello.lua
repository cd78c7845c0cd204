-- wrk script: GET or PUT /hello/<one of the first N names>, as tools/bench/__main__.py makes them.
-- Arguments: method, N
local method, people

function init(args)
   method, people = args[1], tonumber(args[2])
   math.randomseed(20260101)
end

function request()
   local name = "Name" .. tostring(math.random(0, people - 1)):gsub("%d", function(digit)
      return string.char(65 + tonumber(digit))
   end)
   local body = method == "PUT" and '{"dateOfBirth": "1990-05-17"}' or nil
   return wrk.format(method, "/hello/" .. name, nil, body)
end

"""OpenAI, and every other server of its protocol, through the official SDK.

``provider`` is what the farm sees. ``client`` asks the endpoint, ``failure`` makes its errors ours,
``dialect`` says what it takes, ``responses`` writes and ``response_stream`` reads the Responses API,
``listing`` and ``embedding`` read what else it tells. What every server of the protocol shares stands in
``providers.openai_wire``.
"""

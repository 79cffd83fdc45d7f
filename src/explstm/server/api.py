"""``/api/v1``: inspect, forecast, growth, backtest, samples.  (signatures; being written)

    POST /inspect                      InspectRequest   -> Inspection   (422 Failure with ``upload``)
    GET  /data/{data}/series           ?search=&offset=0&limit=50 -> SeriesPage
    DELETE /data/{data}                -> 204
    POST /forecast                     ForecastRequest  -> ForecastAnswer, or by Accept: text/csv,
                                       application/vnd.apache.parquet,
                                       application/vnd.apache.arrow.stream
    POST /growth                       GrowthRequest    -> GrowthAnswer
    POST /backtest                     BacktestRequest  -> BacktestAnswer
    GET  /samples                      -> list[Sample]
    GET  /samples/{name}               -> the table: columns in JSON, or by Accept as above
    GET  /limits                       -> Limits
Bodies of POST: application/json; multipart/form-data with field ``file`` (the other fields of the
request beside it); text/csv, application/vnd.apache.parquet or application/octet-stream with the
other fields in the query.
Errors: Failure, with 400, 401, 403, 404, 413, 415, 422, 429, 503.
For jobs: ``app.state.uploads.take(data_id) -> StoredUpload(content: bytes, name: str)`` (raises
ApiError 404) and ``explstm.server.uploads.read_upload(content, name, request, settings) -> Panel``.
``app.state.settings``. ``explstm.server.errors.ApiError(status, code, message)`` gives Failure.
"""

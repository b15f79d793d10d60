"""Of each alert: series by which it fires, and such by which it only just does not; a value a minute."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Series by name and values, and when (minutes) the alert is looked at; ``fires`` is how many alerts there are."""

    alert: str
    fires: int
    series: dict[str, str]
    at: int


_REQUESTS = 'http_request_duration_seconds_count{job="service",route="/recommend/<anytext:user_id>",status="%s"}'
_PRODUCTS = 'http_request_duration_seconds_count{job="service",route="/products",status="200"}'
_FAST_ENOUGH = 'http_request_duration_seconds_bucket{job="service",route="/recommend/<anytext:user_id>",le="0.1"}'
_REFUSED = 'reweigh_refused_requests_total{job="service"}'
_HEALTH = 'http_request_duration_seconds_count{job="service",route="/readyz",status="503"}'
_WATCHED = 'http_request_duration_seconds_count{job="service",route="/ops/data",status="200"}'
_IN_TIME, _EVENTS = 'event_to_recommendation_seconds_bucket{le="2.0"}', "event_to_recommendation_seconds_count"
_READ = 'reweigh_stream_records_total{outcome="read",instance="%s"}'
_DEAD = 'reweigh_dead_letters_total{reason="%s",instance="%s"}'
_LAG = 'flink_taskmanager_job_task_operator_pendingRecords{job="%s"}'
_NDCG = 'reweigh_model_ndcg{ranking="%s"}'
_VERSION = 'reweigh_worker_weights_version{pid="%s"}'
_DEGRADED = 'reweigh_degraded_answers_total{job="service"}'
_SERVICE, _VERIFIED = 'up{job="service"}', 'reweigh_verify_age_seconds{job="service"}'
_COMPLETED = 'flink_jobmanager_job_lastCheckpointCompletedTimestamp{job="%s",job_name="j"}'
_RUNNING = 'flink_jobmanager_numRunningJobs{job="%s"}'
_RESTARTS = 'flink_jobmanager_job_numRestarts{job="%s",job_name="j"}'
_IDLE = 'node_cpu_seconds_total{mode="idle",cpu="0"}'


def _failing(a_minute: str, minutes: int) -> dict[str, str]:
    good = f"0+1000x{minutes}"
    return {_REQUESTS % 200: good, _REQUESTS % 500: f"0+{a_minute}x{minutes}", _HEALTH: f"0+500x{minutes}"}


def _slow(in_time: int, minutes: int) -> dict[str, str]:
    return {_REQUESTS % 200: f"0+1000x{minutes}", _FAST_ENOUGH: f"0+{in_time}x{minutes}"}


def _late(in_time: int, minutes: int) -> dict[str, str]:
    return {_EVENTS: f"0+100x{minutes}", _IN_TIME: f"0+{in_time}x{minutes}"}


def _letters(a_minute: int) -> dict[str, str]:
    """Two replicas of the service tell the same, which must not count twice."""
    series = dict[str, str]()
    for instance in ("a", "b"):
        series[_READ % instance] = "0+1000x30"
        series[_DEAD % ("not_json", instance)] = f"0+{a_minute}x30"
        series[_DEAD % ("not_utf8", instance)] = "0+4x30"
    return series


CASES = (
    Case("ServiceDown", 1, {'up{job="service"}': "1 1 0 0 0 0", 'up{job="flink"}': "0x5"}, 5),
    Case("ServiceDown", 1, {'up{job="flink"}': "1x5"}, 5),
    Case("ServiceDown", 0, {'up{job="service"}': "1 1 0 1 1 1", 'up{job="flink"}': "0x5"}, 5),
    Case("AvailabilityBurnsFast", 1, _failing("16", 70), 70),
    Case("AvailabilityBurnsFast", 0, _failing("14", 70), 70),
    Case("AvailabilityBurnsFast", 0, {_REQUESTS % 200: "0+1000x70", _REQUESTS % 500: "0+90x50 4500x20"}, 70),
    Case("AvailabilityBurnsFast", 1, {_REQUESTS % 200: "0+984x70", _REFUSED: "0+16x70"}, 70),
    Case("AvailabilityBurnsFast", 0, {_REQUESTS % 200: "0+986x70", _REFUSED: "0+14x70"}, 70),
    Case("AvailabilityBurnsFast", 1, {**_failing("16", 70), _WATCHED: "0+5000x70"}, 70),
    Case("AvailabilityBurnsSlowly", 1, _failing("7", 400), 400),
    Case("AvailabilityBurnsSlowly", 0, _failing("5", 400), 400),
    Case("LatencyBurnsFast", 1, _slow(840, 70), 70),
    Case("LatencyBurnsFast", 0, _slow(860, 70), 70),
    Case("LatencyBurnsSlowly", 1, _slow(930, 400), 400),
    Case("LatencyBurnsSlowly", 0, _slow(950, 400), 400),
    Case("AnswersDegraded", 1, {_REQUESTS % 200: "0+1000x20", _DEGRADED: "0+60x20"}, 15),
    Case("AnswersDegraded", 0, {_REQUESTS % 200: "0+1000x20", _DEGRADED: "0+40x20"}, 15),
    Case("AnswersDegraded", 0, {_REQUESTS % 200: "0+100x20", _PRODUCTS: "0+900x20", _DEGRADED: "0+40x20"}, 15),
    Case("FreshnessBurnsFast", 1, _late(84, 70), 70),
    Case("FreshnessBurnsFast", 0, _late(86, 70), 70),
    Case("FreshnessBurnsSlowly", 1, _late(93, 400), 400),
    Case("FreshnessBurnsSlowly", 0, _late(95, 400), 400),
    Case("FreshnessUnknown", 1, {"up": "1x20"}, 15),
    Case("FreshnessUnknown", 1, {_EVENTS: "7x20"}, 15),
    Case("FreshnessUnknown", 0, {_EVENTS: "0+12x20"}, 15),
    Case("JobNotRunning", 1, {_RUNNING % "flink": "1 1 0x8"}, 8),
    Case("JobNotRunning", 1, {"up": "1x20"}, 8),
    Case("JobNotRunning", 0, {_RUNNING % "flink": "1x20"}, 8),
    Case("JobNotRunning", 1, {_RUNNING % "flink": "0x20", _RUNNING % "another": "1x20"}, 8),
    Case("JobRestartsAgainAndAgain", 1, {_RESTARTS % "flink": "0+1x20"}, 15),
    Case("JobRestartsAgainAndAgain", 0, {_RESTARTS % "flink": "0x8 1x3 2x9"}, 15),
    Case("JobRestartsAgainAndAgain", 0, {_RESTARTS % "another": "0+1x20"}, 15),
    Case("CheckpointTooOld", 1, {_COMPLETED % "flink": "60000x10"}, 6),
    Case("CheckpointTooOld", 0, {_COMPLETED % "flink": "0+60000x10"}, 6),
    Case("CheckpointTooOld", 0, {_COMPLETED % "flink": "0+60000x10", _COMPLETED % "another": "60000x10"}, 6),
    Case("ConsumerLagHigh", 1, {_LAG % "flink": "0x5 100001+10x20"}, 18),
    Case("ConsumerLagHigh", 0, {_LAG % "flink": "0x5 300000-1000x20"}, 18),
    Case("ConsumerLagHigh", 0, {_LAG % "flink": "0x5 99000x20"}, 18),
    Case("ConsumerLagHigh", 0, {_LAG % "flink": "0x25", _LAG % "another": "0x5 100001+10x20"}, 18),
    Case("DeadLettersRise", 1, _letters(8), 25),
    Case("DeadLettersRise", 0, _letters(5), 25),
    Case("StoredDataDiffers", 1, {"reweigh_verify_differences": "1x5"}, 3),
    Case("StoredDataDiffers", 0, {"reweigh_verify_differences": "0x5"}, 3),
    Case("VerificationTooOld", 1, {_VERIFIED: "172500+60x30"}, 20),
    Case("VerificationTooOld", 1, {_SERVICE: "1x3000"}, 2_900),
    Case("VerificationTooOld", 1, {_SERVICE: "1x6000", _VERIFIED: "0+60x20"}, 2_950),
    Case("VerificationTooOld", 0, {_VERIFIED: "172000+60x10 0+60x30"}, 20),
    Case("VerificationTooOld", 0, {_SERVICE: "1x3000"}, 2_870),
    Case("VerificationTooOld", 0, {_SERVICE: "1x3000", _VERIFIED: "_x1000 0+60x20"}, 2_900),
    Case("WeightsRejected", 1, {'reweigh_rejected_documents_total{job="service",name="weights"}': "0 0 1x20"}, 6),
    Case("WeightsRejected", 0, {'reweigh_rejected_documents_total{job="service",name="weights"}': "3x30"}, 20),
    Case("WeightsDiffer", 1, {_VERSION % 1: "8x9", _VERSION % 2: "8x3 9x9"}, 8),
    Case("WeightsDiffer", 0, {_VERSION % 1: "8x4 9x9", _VERSION % 2: "8x3 9x9"}, 8),
    Case("RecommendationQualityFalls", 1, {_NDCG % "blend": "0.2x60 0.17x60", _NDCG % "most popular": "0.1x120"}, 90),
    Case("RecommendationQualityFalls", 1, {_NDCG % "blend": "0.09x60", _NDCG % "most popular": "0.1x60"}, 30),
    Case("RecommendationQualityFalls", 0, {_NDCG % "blend": "0.2x60 0.19x60", _NDCG % "most popular": "0.1x120"}, 90),
    Case("LowUtilisation", 1, {_IDLE: "0+58x500"}, 480),
    Case("LowUtilisation", 0, {_IDLE: "0+54x500"}, 480),
)  # fmt: skip

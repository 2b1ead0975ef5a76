"""How a teacher's maps are read."""

from dataclasses import dataclass, replace

from .interaction_maps import REST


@dataclass(frozen=True)
class TeacherReading:
    positions_reading: str = 'share'
    presence: str = 'best-location'

    def __call__(self, maps, labels):
        if self.positions_reading == 'share':
            maps = maps.share()
        if self.presence == 'best-location':
            share = maps.over_concepts().masked_fill(~maps.valid[:, None, None], -1e9)
            presence = share.flatten(-2).amax(-1).mean(1).exp()
            if maps.concepts is not None:
                presence = presence.masked_fill(maps.concepts == REST, 0)
            maps = replace(maps, presence=presence)
        if labels is not None:
            maps = maps.with_labels(labels)
        return maps

//! `loyalty_core@1`. Never makes an attribute whose input is not given.

use super::{Made, Part, Surroundings};
use crate::pipeline::preset::LoyaltyCore;
use crate::pipeline::{Ago, Block, FromBlock, Table, Window};
use crate::text::{Located, Name, Sql};

/// The day of each order: `{key}`, `{from}` and `{time}` are the orders'.
const DAYS: &str = "select {key}, cast({time} as date) as day from {from} where {key} is not null and {time} is not null";
/// The month of the last moment before `as_of`, counted from year 0.
const NOW: &str = "(date_part('year', cast(as_of - interval '1 microsecond' as date)) * 12 \
    + date_part('month', cast(as_of - interval '1 microsecond' as date)))";
/// How many gaps the mean of everybody's gaps counts for.
const PRIOR_GAPS: &str = "4";
const DAY_US: i64 = 86_400_000_000;

pub(super) fn made(preset: &LoyaltyCore, around: Surroundings) -> Made {
    let from = super::quoted(&preset.from.value);
    let time = around.time(&preset.from);
    let core = Core { preset, around, from, time };
    let mut made = Made { tables: core.tables(), blocks: vec![core.orders(), core.gaps(), core.months(), core.places()] };
    if let Some(channel) = &preset.channel {
        made.tables.push(core.channel_table(channel));
        made.blocks.push(core.channels());
    }
    if let Some(category) = &preset.category {
        made.blocks.push(core.categories(category));
    }
    for (i, source) in preset.engagement.iter().enumerate() {
        let latest = core.sql("max({at})", &[("at", Part::Text(&core.around.time(source)))]);
        made.blocks.push(core.around.from(source.clone(), vec![(&format!("_engaged_{i}_at"), latest)]));
    }
    made.blocks.push(core.row());
    made
}

struct Core<'a> {
    preset: &'a LoyaltyCore,
    around: Surroundings<'a>,
    from: String,
    time: String,
}

impl Core<'_> {
    fn sql(&self, template: &str, others: &[(&str, Part)]) -> Sql {
        let mut all = vec![("from", Part::Text(&self.from)), ("time", Part::Text(&self.time)), ("now", Part::Text(NOW))];
        all.extend(others);
        self.around.sql(template, &all)
    }

    fn own(&self, name: &str) -> Name {
        self.around.name(&self.around.table_name(name))
    }

    fn tables(&self) -> Vec<Table> {
        let key = self.around.entity_key;
        let gaps = format!(
            "select {{key}}, day, gap, row_number() over (partition by {{key}} order by gap, day) as i, \
             row_number() over (partition by {{key}} order by gap desc, day desc) as j \
             from (select {{key}}, day, day - lag(day) over (partition by {{key}} order by day) as gap \
             from (select distinct {{key}}, day from ({DAYS}) as d) as days) as gaps where gap is not null"
        );
        let months = format!(
            "select {{key}}, ago, count(*) as n from (select {{key}}, \
             {{now}} - (date_part('year', day) * 12 + date_part('month', day)) as ago from ({DAYS}) as d) as m \
             group by {{key}}, ago"
        );
        let people = format!(
            "select {{key}}, date_part('year', min(day)) * 12 + date_part('month', min(day)) as cohort, max(day) as last_day \
             from ({DAYS}) as d group by {{key}}"
        );
        let cohorts = format!(
            "select cohort, last_day, \
             sum(n) over (partition by cohort order by last_day) / sum(n) over (partition by cohort) as share \
             from (select cohort, last_day, count(*) as n from ({people}) as p group by cohort, last_day) as h"
        );
        let places = format!(
            "select p.{{key}}, c.share, m.mean_gap from ({people}) as p cross join {{mean}} as m \
             inner join {{cohorts}} as c on c.cohort = p.cohort and c.last_day = p.last_day"
        );
        let [gaps_name, mean_name, cohorts_name] = ["gaps", "mean", "cohorts"].map(|n| self.around.table_name(n));
        let others = [("gaps", Part::Text(&gaps_name)), ("mean", Part::Text(&mean_name)), ("cohorts", Part::Text(&cohorts_name))];
        let table = |name: &str, key: &[&str], text: &str| self.around.table(name, key, self.sql(text, &others));
        vec![
            table("gaps", &[key, "day"], &gaps),
            table("months", &[key, "ago"], &months),
            table("mean", &[], "select sum(gap) / count(gap) as mean_gap from {gaps}"),
            table("cohorts", &["cohort", "last_day"], &cohorts),
            table("places", &[key], &places),
        ]
    }

    /// What a row an order says by itself.
    fn orders(&self) -> Block {
        let p = self.preset;
        let amount = ("amount", Part::Users(&p.amount));
        let net = match &p.returned {
            Some(returned) => self.sql("total({amount}) - total({returned})", &[amount, ("returned", Part::Users(returned))]),
            None => self.sql("total({amount})", &[amount]),
        };
        let mut columns = vec![];
        let mut add =
            |name: &str, sql: Sql, window: Option<Located<Window>>| columns.push(self.around.aggregate(name, sql, window));
        add("_first_at", self.sql("min({time})", &[]), None);
        add("_last_at", self.sql("max({time})", &[]), None);
        add("_orders", self.sql("count(*)", &[]), None);
        for (suffix, window) in &p.windows {
            add(&format!("orders_{suffix}"), self.sql("count(*)", &[]), window.clone());
            add(&format!("net_{suffix}"), net.clone(), window.clone());
        }
        add("basket", self.sql("sum({amount}) / count({amount})", &[amount]), None);
        add("_net_90d", net.clone(), self.days(90, 0));
        add("_net_before", net, self.days(180, 90));
        if let Some(lines) = &p.lines {
            add("basket_lines", self.sql("sum({lines}) / count({lines})", &[("lines", Part::Users(lines))]), None);
        }
        if let Some(discount) = &p.discount {
            let both = [amount, ("discount", Part::Users(discount))];
            add("discount_share", self.sql("total({discount}) / (total({amount}) + total({discount}))", &both), None);
            let full = "count(*) filter (where coalesce({discount}, 0) = 0) / count(*)";
            add("full_price_share", self.sql(full, &both), None);
        }
        if let Some(returned) = &p.returned {
            let both = [amount, ("returned", Part::Users(returned))];
            add("_return_rate", self.sql("total({returned}) / total({amount})", &both), None);
        }
        if let Some(channel) = &p.channel {
            let distinct = self.sql("count(distinct {channel})", &[("channel", Part::Users(channel))]);
            add("channels_90d", distinct, self.days(90, 0));
        }
        Block::From(FromBlock { from: p.from.clone(), filter: None, columns })
    }

    fn days(&self, from: i64, to: i64) -> Option<Located<Window>> {
        let window = Window { from: Ago::Micros(from * DAY_US), to: Ago::Micros(to * DAY_US) };
        Some(Located::new(window, self.around.span))
    }

    /// Days between one day with an order and the next.
    fn gaps(&self) -> Block {
        let columns = [
            ("_gaps", "count(*)"),
            ("_gap_days", "total(gap)"),
            ("_gap_squares", "total(gap * gap)"),
            ("gap_median", "avg(gap) filter (where abs(i - j) <= 1)"),
            ("second_order_days", "first(gap order by day)"),
        ];
        self.around.from(self.own("gaps"), columns.map(|(n, t)| (n, self.sql(t, &[]))).into())
    }

    /// Orders by month, counted back from the last one before `as_of`.
    fn months(&self) -> Block {
        let columns = [
            ("_active_months", "count(*)"),
            ("_months", "max(ago) + 1"),
            ("_log", "sum(ln(1.0 + n))"),
            ("_log_ago", "sum(ago * ln(1.0 + n))"),
        ];
        self.around.from(self.own("months"), columns.map(|(n, t)| (n, self.sql(t, &[]))).into())
    }

    /// The place in the own cohort, and everybody's mean gap.
    fn places(&self) -> Block {
        let columns = [("recency_rank", "max(share)"), ("_mean_gap", "max(mean_gap)")];
        self.around.from(self.own("places"), columns.map(|(n, t)| (n, self.sql(t, &[]))).into())
    }

    fn channel_table(&self, channel: &Sql) -> Table {
        let text = "select {key}, channel, count(*) as n \
                    from (select {key}, {channel} as channel from {from} where {key} is not null) as c \
                    where channel is not null group by {key}, channel";
        let sql = self.sql(text, &[("channel", Part::Users(channel))]);
        self.around.table("channels", &[self.around.entity_key, "channel"], sql)
    }

    fn channels(&self) -> Block {
        let columns = [
            ("_channels", "count(*)"),
            ("channel_top", "first(channel order by n desc, channel)"),
            ("channel_top_share", "max(n) / sum(n)"),
            ("channel_entropy", "ln(sum(n)) - sum(n * ln(n)) / sum(n)"),
        ];
        self.around.from(self.own("channels"), columns.map(|(n, t)| (n, self.sql(t, &[]))).into())
    }

    /// Spend by category, where it is positive: H = ln S − Σ s ln s / S.
    fn categories(&self, category: &Name) -> Block {
        let columns = [
            ("categories", "count(*) filter (where spend > 0)"),
            ("_category_spend", "sum(cast(spend as double)) filter (where spend > 0)"),
            ("_category_log", "sum(cast(spend as double) * ln(cast(spend as double))) filter (where spend > 0)"),
            ("_category_squares", "sum(cast(spend as double) * cast(spend as double)) filter (where spend > 0)"),
        ];
        self.around.from(category.clone(), columns.map(|(n, t)| (n, self.sql(t, &[]))).into())
    }

    /// What follows from the others.
    fn row(&self) -> Block {
        let p = self.preset;
        let first_day = "cast({@_first_at} as date)";
        let cohort = format!(
            "cast(date_part('year', {first_day}) as varchar) || '-' \
             || lpad(cast(date_part('month', {first_day}) as varchar), 2, '0')"
        );
        let overdue =
            format!("{{@recency_days}} / (({{@_gap_days}} + {PRIOR_GAPS} * {{@_mean_gap}}) / ({{@_gaps}} + {PRIOR_GAPS}))");
        let mut columns = vec![
            ("recency_days", "days_since({@_last_at})".to_owned()),
            ("overdue", overdue),
            ("active_month_share", "{@_active_months} / {@_months}".to_owned()),
            ("regularity", REGULARITY.to_owned()),
            ("order_trend", TREND.to_owned()),
            ("spend_trend", "({@_net_90d} - {@_net_before}) / (abs({@_net_90d}) + abs({@_net_before}))".to_owned()),
            ("tenure_days", "days_since({@_first_at})".to_owned()),
            ("cohort", cohort),
        ];
        if !p.engagement.is_empty() {
            let times: String = (0..p.engagement.len()).map(|i| format!(", {{@_engaged_{i}_at}}")).collect();
            columns.push(("engagement_days", format!("days_since(greatest({{@_last_at}}{times}))")));
        }
        if p.returned.is_some() {
            columns.push((
                "return_rate",
                "case when {@_return_rate} is not null then least(1.0, greatest(0.0, {@_return_rate})) end".to_owned(),
            ));
            columns.push(("return_rate_clipped", "{@_return_rate} < 0 or {@_return_rate} > 1".to_owned()));
        }
        if p.channel.is_some() {
            columns.push(("single_channel", "{@_channels} = 1 and {@_orders} >= 3".to_owned()));
        }
        if p.category.is_some() {
            columns.push(("category_entropy", "ln({@_category_spend}) - {@_category_log} / {@_category_spend}".to_owned()));
            columns.push(("categories_effective", "exp({@category_entropy})".to_owned()));
            columns.push(("category_hhi", "{@_category_squares} / ({@_category_spend} * {@_category_spend})".to_owned()));
            columns.push(("category_hhi_normalised", HHI_NORMALISED.to_owned()));
        }
        let made = columns.iter().map(|(name, text)| (*name, self.sql(text, &[]))).collect();
        self.around.row(made)
    }
}

/// 1 / (1 + CV), with the sample's standard deviation.
const REGULARITY: &str = "case when {@_gaps} >= 2 then 1.0 / (1.0 + sqrt(greatest(0.0, \
    ({@_gaps} * {@_gap_squares} - {@_gap_days} * {@_gap_days}) / ({@_gaps} * ({@_gaps} - 1)))) / ({@_gap_days} / {@_gaps})) end";
/// Least squares over every month since the first, months without an order as well: those add nothing to the sums.
const TREND: &str = "case when {@_months} >= 2 then (({@_months} - 1) / 2.0 * {@_log} - {@_log_ago}) \
    / ({@_months} * (cast({@_months} as double) * {@_months} - 1) / 12.0) end";
/// (HHI − 1/K) / (1 − 1/K) over the K own categories; 1 where there is one.
const HHI_NORMALISED: &str = "case when {@categories} = 1 then 1.0 when {@categories} > 1 \
    then ({@category_hhi} - 1.0 / {@categories}) / (1.0 - 1.0 / {@categories}) end";

//! What a transaction costs.

use solana_client::nonblocking::rpc_client::RpcClient;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::ChainError;

use super::TargetConfig;
use crate::rpc::chain_error;

/// What one signature costs, in lamports.
pub(crate) const BASE_FEE: u64 = 5000;

/// So many accounts may be named when fees are asked for.
const MAX_FEE_ACCOUNTS: usize = 128;

/// The fee of a transaction with one signature, in lamports. The price is rounded up.
pub(crate) const fn fee_of(units: u32, micro_lamports: u64) -> u64 {
    let priority = (units as u64)
        .saturating_mul(micro_lamports)
        .div_ceil(1_000_000);
    BASE_FEE.saturating_add(priority)
}

/// The price of a compute unit: a percentile of what was paid for these accounts in recent slots,
/// within the bounds of the settings.
pub(crate) async fn price(
    client: &RpcClient,
    config: &TargetConfig,
    writable: &[Pubkey],
) -> Result<u64, ChainError> {
    let writable = &writable[..writable.len().min(MAX_FEE_ACCOUNTS)];
    let recent = client
        .get_recent_prioritization_fees(writable)
        .await
        .map_err(|error| chain_error("read recent priority fees", &error))?;
    let fees = recent.iter().map(|slot| slot.prioritization_fee).collect();
    Ok(bounded(config, fees))
}

fn bounded(config: &TargetConfig, mut fees: Vec<u64>) -> u64 {
    fees.sort_unstable();
    let last = fees.len().saturating_sub(1);
    let place = last * usize::from(config.fee_percentile.min(100)) / 100;
    let percentile = fees.get(place).copied().unwrap_or(0);
    // The cap is the last word, also over a least price above it.
    percentile
        .max(config.min_fee_micro_lamports)
        .min(config.max_fee_micro_lamports)
}

/// The limit that a transaction asks for: what the simulation used, and the margin. None where
/// that is more than it may ask for.
pub(crate) fn limit(config: &TargetConfig, used: u64) -> Option<u32> {
    let margin = used.saturating_mul(u64::from(config.units_margin_percent)) / 100;
    let limit = u32::try_from(used.saturating_add(margin)).ok()?;
    (limit <= config.max_units.min(super::MAX_UNITS)).then_some(limit)
}

/// A sum in equal parts, of which the first ones are one more where it does not divide.
pub(super) fn shares(sum: u64, parts: usize) -> impl Iterator<Item = u64> {
    let divisor = (parts as u64).max(1);
    (0..parts as u64).map(move |part| sum / divisor + u64::from(part < sum % divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_a_percentile_between_its_bounds() {
        let config = TargetConfig {
            fee_percentile: 50,
            min_fee_micro_lamports: 10,
            max_fee_micro_lamports: 1000,
            ..TargetConfig::default()
        };
        assert_eq!(bounded(&config, vec![300, 100, 200]), 200);
        assert_eq!(bounded(&config, Vec::new()), 10);
        assert_eq!(bounded(&config, vec![0, 0, 0]), 10);
        assert_eq!(bounded(&config, vec![u64::MAX; 150]), 1000);
        let highest = TargetConfig {
            fee_percentile: 255,
            ..config
        };
        assert_eq!(bounded(&highest, vec![1, 2, 30]), 30);
    }

    #[test]
    fn a_fee_is_the_signature_and_the_price_rounded_up() {
        assert_eq!(fee_of(200_000, 0), 5000);
        assert_eq!(fee_of(200_000, 50_000), 15_000);
        assert_eq!(fee_of(1, 1), 5001);
        assert_eq!(shares(11, 3).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(shares(11, 0).count(), 0);
    }

    #[test]
    fn the_limit_has_the_margin_and_never_passes_the_cap() {
        let config = TargetConfig {
            max_units: 120_000,
            ..TargetConfig::default()
        };
        assert_eq!(limit(&config, 100_000), Some(120_000));
        assert_eq!(limit(&config, 100_001), None);
        assert_eq!(limit(&TargetConfig::default(), 1_166_666), Some(1_399_999));
        assert_eq!(
            limit(
                &TargetConfig {
                    max_units: u32::MAX,
                    ..config
                },
                1_200_000
            ),
            None
        );
        assert_eq!(limit(&config, u64::MAX), None);
    }
}
